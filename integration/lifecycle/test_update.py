"""`update`: other limits for a container that lives, read back from the host's cgroup files."""

from __future__ import annotations

import json
import os

import pytest

from integration import host, needs
from integration.differences import known_of_runc

MEBI = 1 << 20


def memory_of(bundle, v1="memory.limit_in_bytes", v2="memory.max"):
    return host.cgroup_file("memory", bundle.cgroup, v1, v2)


def pids_of(bundle):
    return host.cgroup_file("pids", bundle.cgroup, "pids.max", "pids.max")


def cpu_of(bundle):
    """Return quota and period."""
    if "cpu" in host.hierarchies():
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        return [host.cgroup_file("cpu", bundle.cgroup, name, "") for name in names]
    return host.cgroup_file("cpu", bundle.cgroup, "", "cpu.max").split()


@needs.controllers("memory")
def test_a_memory_limit_is_changed_by_flag(runtime, bundle):
    runtime.started(bundle).verb("update", "--memory", str(64 * MEBI)).ok()

    assert memory_of(bundle) == str(64 * MEBI)


@needs.controllers("memory")
def test_a_size_may_have_a_unit(runtime, bundle):
    runtime.started(bundle).verb("update", "--memory=64M").ok()

    assert memory_of(bundle) == str(64 * MEBI)


@needs.controllers("memory")
def test_a_memory_limit_is_taken_away(runtime, bundle):
    bundle.resources(memory={"limit": 64 * MEBI})
    container = runtime.started(bundle)
    container.verb("update", "--memory", "-1").ok()

    assert memory_of(bundle) in {"max", "9223372036854771712"}


@needs.controllers("memory")
def test_memory_and_swap_are_raised_together(runtime, bundle):
    # In either order one of the two contradicts an old one.
    bundle.resources(memory={"limit": 32 * MEBI, "swap": 48 * MEBI})
    container = runtime.started(bundle)
    container.verb("update", "--memory", "64M", "--memory-swap", "128M").ok()
    raised = memory_of(bundle), memory_of(bundle, "memory.memsw.limit_in_bytes", "memory.swap.max")
    container.verb("update", "--memory", "32M", "--memory-swap", "48M").ok()
    lowered = memory_of(bundle), memory_of(bundle, "memory.memsw.limit_in_bytes", "memory.swap.max")
    with_swap = (64, 16) if host.unified() else (128, 48)

    assert raised == (str(64 * MEBI), str(with_swap[0] * MEBI))
    assert lowered == (str(32 * MEBI), str(with_swap[1] * MEBI))


@needs.controllers("memory")
@needs.hierarchies_of_v1
def test_swap_alone_goes_with_the_memory_limit_in_force(runtime, bundle):
    bundle.resources(memory={"limit": 32 * MEBI})
    container = runtime.started(bundle)
    container.verb("update", "--memory-swap", "96M").ok()

    assert memory_of(bundle, "memory.memsw.limit_in_bytes") == str(96 * MEBI)
    assert memory_of(bundle) == str(32 * MEBI)


@needs.controllers("memory")
def test_a_memory_reservation_is_changed(runtime, bundle):
    runtime.started(bundle).verb("update", "--memory-reservation", "33554432").ok()

    assert memory_of(bundle, "memory.soft_limit_in_bytes", "memory.low") == "33554432"


@needs.controllers("pids")
@pytest.mark.parametrize(("given", "found"), [("20", "20"), ("-1", "max")])
def test_a_pids_limit_is_changed(runtime, bundle, given, found):
    bundle.resources(pids={"limit": 30})
    runtime.started(bundle).verb("update", f"--pids-limit={given}").ok()

    assert pids_of(bundle) == found


@needs.controllers("pids")
def test_a_new_pids_limit_holds(runtime, bundle):
    bundle.resources(pids={"limit": 100})
    container = runtime.started(bundle)
    container.verb("update", "--pids-limit", "5").ok()
    result = container.exec("/bin/sh", "-c", "for i in 1 2 3 4 5 6; do sleep 9 & done; echo all")

    assert "all" not in result.out
    assert "fork" in result.err


@needs.controllers("cpu")
def test_quota_and_period_are_changed(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("update", "--cpu-quota", "20000", "--cpu-period", "50000").ok()

    assert cpu_of(bundle) == ["20000", "50000"]


@needs.controllers("cpu")
def test_a_quota_alone_keeps_the_period(runtime, bundle):
    bundle.resources(cpu={"quota": 20000, "period": 50000})
    runtime.started(bundle).verb("update", "--cpu-quota", "30000").ok()

    assert cpu_of(bundle) == ["30000", "50000"]


@needs.controllers("cpu")
def test_a_period_alone_keeps_the_quota(runtime, bundle):
    bundle.resources(cpu={"quota": 20000, "period": 50000})
    runtime.started(bundle).verb("update", "--cpu-period", "100000").ok()

    assert cpu_of(bundle) == ["20000", "100000"]


@needs.controllers("cpu")
@needs.hierarchies_of_v1
def test_shares_are_changed(runtime, bundle):
    runtime.started(bundle).verb("update", "--cpu-share", "512").ok()

    assert host.cgroup_file("cpu", bundle.cgroup, "cpu.shares", "") == "512"


@needs.controllers("cpu")
@pytest.mark.parametrize(
    ("flag", "v1", "v2", "value"),
    [("burst", "cpu.cfs_burst_us", "cpu.max.burst", "5000"), ("idle", "cpu.idle", "cpu.idle", "1")],
)
def test_burst_and_idle_are_changed(runtime, bundle, flag, v1, v2, value):
    bundle.resources(cpu={"quota": 20000, "period": 50000})
    result = runtime.started(bundle).verb("update", f"--cpu-{flag}", value)
    known_of_runc(runtime, f"1.1 has no --cpu-{flag}", seen=result.code != 0)

    assert host.cgroup_file("cpu", bundle.cgroup, v1, v2) == value


@needs.controllers("cpuset")
def test_the_cpus_are_changed(runtime, bundle):
    runtime.started(bundle).verb("update", "--cpuset-cpus", "0", "--cpuset-mems", "0").ok()
    names = ("cpuset.cpus", "cpuset.mems")

    assert [host.cgroup_file("cpuset", bundle.cgroup, n, n) for n in names] == ["0", "0"]


@needs.controllers("blkio")
def test_a_block_io_weight_is_changed(runtime, bundle):
    container = runtime.started(bundle)
    names = [f"{host.hierarchies()['blkio']}{bundle.cgroup}/blkio{x}.weight" for x in ("", ".bfq")]
    paths = [path for path in names if os.path.exists(path)]
    if not paths:
        pytest.skip("no block device here has weights")
    container.verb("update", "--blkio-weight", "200").ok()

    assert "200" in host.text_of(paths[0]).split()


# ---- the file of engines -------------------------------------------------------------------------
DOCKER = {"memory": {"limit": 64 * MEBI, "swap": 128 * MEBI}, "cpu": {}, "pids": {"limit": 40}}


@needs.controllers("memory", "pids")
def test_podman_names_a_file(runtime, bundle, tmp_path):
    file = tmp_path / "podman123"
    file.write_text(json.dumps(DOCKER))
    done = runtime.started(bundle).verb("update", f"--resources={file}").ok()

    assert (done.out, done.err) == ("", "")
    assert (memory_of(bundle), pids_of(bundle)) == (str(64 * MEBI), "40")


@needs.controllers("memory", "pids")
@pytest.mark.parametrize("words", [("--resources", "-"), ("--resources=-",), ("-r", "-")])
def test_containerd_writes_to_stdin(runtime, bundle, words):
    runtime.started(bundle).verb("update", *words, text=json.dumps(DOCKER)).ok()

    assert (memory_of(bundle), pids_of(bundle)) == (str(64 * MEBI), "40")


@needs.controllers("memory", "pids")
def test_what_is_not_given_stays(runtime, bundle):
    bundle.resources(memory={"limit": 32 * MEBI}, pids={"limit": 30})
    container = runtime.started(bundle)
    container.verb("update", "--resources=-", text='{"pids": {"limit": 40}, "cpu": {}}').ok()

    assert (memory_of(bundle), pids_of(bundle)) == (str(32 * MEBI), "40")


@needs.controllers("pids")
def test_device_rules_stay(runtime, bundle):
    # CRI plugins send the resources of the container whole.
    rules = [{"allow": False, "access": "rwm"}]
    text = json.dumps({"devices": rules, "pids": {"limit": 40}})
    container = runtime.started(bundle)
    container.verb("update", "--resources=-", text=text).ok()

    assert pids_of(bundle) == "40"
    assert container.sh("head -c 1 /dev/zero | wc -c").strip() == "1"


@needs.controllers("pids")
@pytest.mark.parametrize("words", [("--pids-limit", "40"), ("--resources=/nowhere",)])
def test_engines_flags_before_the_verb_are_taken(runtime, bundle, words):
    # podman: only these variables, a log that is one JSON object after a failure and else empty.
    log = f"{bundle.path}/log.json"
    runtime.started(bundle)
    before = ("--log", log, "--log-format", "json")
    env = {"XDG_RUNTIME_DIR": "", "PATH": "/usr/bin:/bin"}
    done = runtime(*before, "update", *words, bundle.id, env=env)
    failed = done.code != 0
    logged = host.text_of(log).splitlines() if os.path.exists(log) else []

    assert failed == ("/nowhere" in words[0])
    assert [json.loads(line)["level"] for line in logged] == ["error"] * failed
    assert bool(done.err) == failed


def test_update_without_a_limit_changes_nothing(runtime, bundle):
    # podman calls it so when only a restart policy is changed.
    done = runtime.started(bundle).verb("update").ok()

    assert (done.out, done.err) == ("", "")


# ---- states and refusals -------------------------------------------------------------------------
@needs.controllers("pids")
def test_a_created_container_is_updated(runtime, bundle):
    bundle.script("exec sleep 1000")
    runtime.create(bundle).verb("update", "--pids-limit", "40").ok()

    assert pids_of(bundle) == "40"


@needs.controllers("pids")
def test_a_paused_container_is_updated_and_stays_paused(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("pause").ok()
    container.verb("update", "--pids-limit", "40").ok()

    assert pids_of(bundle) == "40"
    assert container.status == "paused"


def test_a_stopped_container_is_not_updated(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()
    done = container.verb("update", "--pids-limit", "40")

    assert done.code == 1
    assert "container not running" in done.err


def test_an_unknown_container_is_not_updated(runtime):
    done = runtime("update", "--pids-limit", "40", "unknown")

    assert done.code == 1
    assert "does not exist" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("--resources=/nowhere",),
        ("--memory", "much"),
        ("--cpu-share", "x"),
        ("--cpuset-cpus", "x"),
        ("--l3-cache-schema", "L3:0=f"),
        ("--mem-bw-schema", "MB:0=20"),
    ],
)
def test_what_cannot_be_is_refused(runtime, bundle, words):
    done = runtime.started(bundle).verb("update", *words)

    assert done.code == 1
    assert done.err


def test_a_file_that_is_not_json_is_refused(runtime, bundle):
    assert runtime.started(bundle).verb("update", "-r", "-", text="{").code == 1


@needs.controllers("memory", "cpuset", "pids")
def test_what_the_kernel_refuses_leaves_the_other_limits_as_they_were(runtime, bundle):
    bundle.resources(memory={"limit": 32 * MEBI}, pids={"limit": 30})
    container = runtime.started(bundle)
    words = ("--memory", "16M", "--cpuset-cpus", "511", "--pids-limit", "40")
    done = container.verb("update", *words)

    assert done.code == 1
    assert "cpuset" in done.err
    assert (memory_of(bundle), pids_of(bundle)) == (str(32 * MEBI), "30")


@needs.controllers("memory")
def test_a_limit_below_the_usage_is_refused_when_asked_to_check(runtime, bundle):
    container = runtime.started(bundle)
    text = json.dumps({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    done = container.verb("update", "--resources=-", text=text)

    assert done.code == 1
    assert container.status == "running"
