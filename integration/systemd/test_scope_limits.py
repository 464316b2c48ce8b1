"""Limits of a scope: properties of systemd, and files of the kernel."""

from __future__ import annotations

import pytest

from integration import needs
from integration.systemd.units import cgroup_of, cgroup_of_bundle, shown, systemctl, unit_of, value

MEBI = 1 << 20
INFINITY = "infinity"


# ---- limits --------------------------------------------------------------------------------------
def test_limits_are_properties_and_files(runtime, new_scope):
    bundle = new_scope(
        memory={"limit": 64 * MEBI, "swap": 96 * MEBI, "reservation": 16 * MEBI},
        cpu={"shares": 512, "quota": 50000, "period": 200000},
        pids={"limit": 50},
    )
    runtime.create(bundle)
    cgroup = cgroup_of_bundle(bundle)

    assert {
        "MemoryMax": str(64 * MEBI), "MemoryLow": str(16 * MEBI), "CPUWeight": "59",
        "CPUQuotaPerSecUSec": "250ms", "CPUQuotaPeriodUSec": "200ms", "TasksMax": "50",
    } == shown(
        unit_of(bundle), "MemoryMax", "MemoryLow", "CPUWeight", "CPUQuotaPerSecUSec",
        "CPUQuotaPeriodUSec", "TasksMax",
    )  # fmt: skip
    assert {
        "memory.max": str(64 * MEBI), "memory.low": str(16 * MEBI), "cpu.weight": "59",
        "cpu.max": "50000 200000", "pids.max": "50",
    } == {
        name: value(cgroup, name)
        for name in ("memory.max", "memory.low", "cpu.weight", "cpu.max", "pids.max")
    }  # fmt: skip


def test_swap_is_told_without_memory(runtime, new_scope):
    if "crun" in runtime.name:
        pytest.skip("crun tells systemd memory and swap together")
    bundle = new_scope(memory={"limit": 64 * MEBI, "swap": 96 * MEBI})
    runtime.create(bundle)

    assert {"MemorySwapMax": str(32 * MEBI)} == shown(unit_of(bundle), "MemorySwapMax")
    assert str(32 * MEBI) == value(cgroup_of_bundle(bundle), "memory.swap.max")


def test_a_quota_of_a_broken_percentage_is_rounded_up_for_systemd(runtime, new_scope):
    bundle = new_scope(cpu={"quota": 50050, "period": 100000})
    runtime.create(bundle)

    assert {"CPUQuotaPerSecUSec": "510ms"} == shown(unit_of(bundle), "CPUQuotaPerSecUSec")


def test_a_quota_of_a_broken_percentage_is_exact_for_the_kernel(runtime, new_scope):
    if "aisbx" not in runtime.name:
        pytest.skip("systemd writes its rounded value over the peers'")
    bundle = new_scope(cpu={"quota": 50050, "period": 100000})
    runtime.create(bundle)

    assert "50050 100000" == value(cgroup_of_bundle(bundle), "cpu.max")


def test_unified_values_are_properties_where_there_are_such(runtime, new_scope):
    bundle = new_scope(
        memory={"limit": 64 * MEBI},
        unified={
            "memory.high": str(32 * MEBI), "memory.min": str(MEBI), "pids.max": "42",
            "cpu.weight": "77", "cpu.max": "20000 100000",
        },
    )  # fmt: skip
    runtime.create(bundle)

    assert {
        "MemoryHigh": str(32 * MEBI), "MemoryMin": str(MEBI), "TasksMax": "42", "CPUWeight": "77",
        "CPUQuotaPerSecUSec": "200ms",
    } == shown(
        unit_of(bundle), "MemoryHigh", "MemoryMin", "TasksMax", "CPUWeight", "CPUQuotaPerSecUSec"
    )  # fmt: skip
    assert str(32 * MEBI) == value(cgroup_of_bundle(bundle), "memory.high")


def test_a_value_without_a_property_is_not_written_over(runtime, new_scope):
    if "aisbx" not in runtime.name:
        pytest.skip("systemd writes its own value over the peers'")
    bundle = new_scope(memory={"limit": 64 * MEBI}, unified={"memory.oom.group": "1"})
    runtime.create(bundle)

    assert "1" == value(cgroup_of_bundle(bundle), "memory.oom.group")


def test_an_idle_container_is_idle_to_systemd(runtime, new_scope):
    bundle = new_scope(cpu={"idle": 1})
    runtime.create(bundle)

    assert "1" == value(cgroup_of_bundle(bundle), "cpu.idle")
    assert {"CPUWeight": "idle"} == shown(unit_of(bundle), "CPUWeight")


@needs.controllers("memory")
def test_a_memory_limit_holds(runtime, new_scope):
    bundle = new_scope(memory={"limit": 16 * MEBI, "swap": 16 * MEBI})
    result = runtime.run(bundle, "head -c 64000000 /dev/zero | tail -c 64000000 | wc -c; echo done")

    assert "64000000" not in result.out


def test_a_container_of_four_mebibytes_runs(runtime, new_scope):
    if "aisbx" not in runtime.name:
        pytest.skip("Go runtimes need more")
    bundle = new_scope(memory={"limit": 4 * MEBI, "swap": 4 * MEBI})

    assert "hello\n" == runtime.run(bundle, "echo hello").ok().out


def test_device_rules_hold(runtime, bundle):
    bundle.resources(
        devices=[
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
        ]
    )
    bundle.all_capabilities("CAP_MKNOD")
    script = (
        "mknod /tmp/full c 1 7 2>/dev/null && cat /dev/kmsg >/dev/null 2>&1; "
        "head -c 1 /dev/zero | wc -c; mknod /tmp/kmsg c 1 11 && : </tmp/kmsg"
    )
    result = runtime.run(bundle, script)

    assert result.out.startswith("1\n")
    assert result.code != 0
    assert "ermitted" in result.err or "denied" in result.err


def test_device_rules_hold_after_systemd_was_reloaded(runtime, bundle):
    bundle.all_capabilities("CAP_MKNOD")
    bundle.resources(devices=[{"allow": False, "access": "rwm"}])
    container = runtime.started(bundle)
    systemctl("daemon-reload").ok()
    result = container.exec("/bin/sh", "-c", "mknod /tmp/kmsg c 1 11 && : </tmp/kmsg")

    assert result.code != 0
    assert "ermitted" in result.err


def test_limits_hold_after_systemd_was_reloaded(runtime, new_scope):
    bundle = new_scope(memory={"limit": 64 * MEBI}, cpu={"quota": 50000}, pids={"limit": 50})
    container = runtime.started(bundle)
    systemctl("daemon-reload").ok()
    cgroup = cgroup_of(container.pid)
    found = {name: value(cgroup, name) for name in ("memory.max", "cpu.max", "pids.max")}

    assert {"memory.max": str(64 * MEBI), "cpu.max": "50000 100000", "pids.max": "50"} == found
