"""update: whichever write fails, all limits are as they were."""

from __future__ import annotations

from integration import host, needs
from integration.faults.faulty import misreported

WORDS = ("--memory", "64M", "--memory-swap", "128M", "--pids-limit", "40", "--cpu-share", "512")
FILES = (
    ("memory", "memory.limit_in_bytes", "memory.max"),
    ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("pids", "pids.max", "pids.max"),
    ("cpu", "cpu.shares", "cpu.weight"),
)


@needs.controllers("memory", "pids", "cpu")
def test_a_failing_update_changes_nothing(faulty, bundle):
    def limits():
        return [host.cgroup_file(name, bundle.cgroup, v1, v2) for name, v1, v2 in FILES]

    bundle.resources(memory={"limit": 32 << 20, "swap": 48 << 20}, pids={"limit": 30})
    faulty.runtime.started(bundle)
    before = limits()
    found, faults = [], 0
    for _, outcome in faulty.walk(
        "fail:before:file:write", lambda fault: faulty(fault, "update", *WORDS, bundle.id)
    ):
        faults += 1
        wrong = misreported(outcome)
        if limits() != before:
            wrong.append(f"{limits()} instead of {before}")
            faulty.runtime("update", "--memory=32M", "--memory-swap=48M", bundle.id).ok()
        if wrong:
            found.append(f"{outcome}: {wrong}")

    assert found == [], "\n".join(found)
    assert faults >= len(FILES)
    assert limits() != before
