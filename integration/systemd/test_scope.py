"""Containers in scopes of the system's systemd: where they are, their limits, their end."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from integration import host
from integration.systemd import units
from integration.systemd.units import (
    annotate,
    cgroup_of,
    cgroup_of_bundle,
    shown,
    systemctl,
    unit_of,
    value,
)

MEBI = 1 << 20
INFINITY = "infinity"


# ---- where it is ---------------------------------------------------------------------------------
def test_init_is_in_a_scope_of_the_slice_as_soon_as_create_returns(runtime, bundle):
    container = runtime.create(bundle)

    assert f"/system.slice/test-{bundle.id}.scope" == cgroup_of(container.pid)
    assert {
        "ActiveState": "active", "Slice": "system.slice", "Delegate": "yes", "Transient": "yes",
        "DefaultDependencies": "no", "ControlGroup": cgroup_of_bundle(bundle),
    } == shown(
        unit_of(bundle), "ActiveState", "Slice", "Delegate", "Transient", "DefaultDependencies",
        "ControlGroup",
    )  # fmt: skip


def test_everything_is_accounted_for(runtime, bundle):
    runtime.create(bundle)
    names = ("MemoryAccounting", "IOAccounting", "TasksAccounting")

    assert dict.fromkeys(names, "yes") == shown(unit_of(bundle), *names)


def test_a_nested_slice_is_expanded(runtime, bundle):
    top = f"it{os.getpid()}"
    bundle.config["linux"]["cgroupsPath"] = f"{top}-a.slice:test:{bundle.id}"
    container = runtime.create(bundle)
    found = cgroup_of(container.pid)
    container.delete("--force").ok()
    systemctl("stop", f"{top}.slice").ok()

    assert f"/{top}.slice/{top}-a.slice/test-{bundle.id}.scope" == found


@pytest.mark.parametrize(
    ("slice_", "expected"), [("-.slice", ""), ("", "/system.slice"), ("user.slice", "/user.slice")]
)
def test_other_slices(runtime, bundle, slice_, expected):
    bundle.config["linux"]["cgroupsPath"] = f"{slice_}:test:{bundle.id}"
    container = runtime.create(bundle)

    assert f"{expected}/test-{bundle.id}.scope" == cgroup_of(container.pid)


def test_without_a_path_the_scope_bears_the_id(runtime, bundle):
    del bundle.config["linux"]["cgroupsPath"]
    container = runtime.create(bundle)

    assert cgroup_of(container.pid).startswith("/system.slice/")
    assert cgroup_of(container.pid).endswith(f"-{bundle.id}.scope")


def test_the_container_sees_its_scope_as_the_root(runtime, bundle):
    bundle.namespace("cgroup")

    assert "0::/\n" == runtime.run(bundle, "cat /proc/self/cgroup").ok().out


def test_a_subgroup_is_made_where_it_is_asked_for(runtime, bundle):
    if "runc" in runtime.name:
        pytest.skip("runc makes no cgroup below the scope")
    bundle.config["annotations"] = {"run.oci.systemd.subgroup": "payload"}
    bundle.resources(pids={"limit": 50}).namespace("cgroup")
    container = runtime.started(bundle)

    assert f"{cgroup_of_bundle(bundle)}/payload" == cgroup_of(container.pid)
    assert "50" == value(cgroup_of_bundle(bundle), "pids.max")
    assert "0::/\n" == container.sh("cat /proc/self/cgroup")
    assert "memory.current" in os.listdir(f"{units.TOP}{cgroup_of_bundle(bundle)}/payload")


# ---- annotations ---------------------------------------------------------------------------------
def test_annotations_are_properties(runtime, bundle):
    # The first two are podman's own.
    annotate(
        bundle, KillSignal="3", TimeoutStopUSec="uint64 7000000", RuntimeMaxSec="1000",
        Documentation="['man:a(1)', 'man:b(2)']",
    )  # fmt: skip
    runtime.create(bundle)

    assert {
        "KillSignal": "3", "TimeoutStopUSec": "7s", "RuntimeMaxUSec": "16min 40s",
        "Documentation": '"man:a(1)" "man:b(2)"',
    } == shown(
        unit_of(bundle), "KillSignal", "TimeoutStopUSec", "RuntimeMaxUSec", "Documentation"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KillSignal", "TERM"),
        ("NoSuchProperty", "5"),
        ("KillSignal", "'9'"),
        ("A", "5"),
        ("Ab1", "5"),
    ],
)
def test_a_bad_annotation_fails_create_and_leaves_nothing(runtime, bundle, name, text):
    result = runtime.try_create(annotate(bundle, **{name: text}))

    assert result.code != 0
    assert name in result.message
    assert set() == units.left()


# ---- what is done to it --------------------------------------------------------------------------
def test_exec_joins_the_scope(runtime, bundle):
    container = runtime.started(bundle)
    container.exec("sleep", "1000", flags=("--detach", f"--pid-file={bundle.path}/exec")).ok()
    pid = host.text_of(f"{bundle.path}/exec")

    assert cgroup_of(container.pid) == cgroup_of(pid)


def test_an_update_changes_properties_and_files(runtime, new_scope):
    bundle = new_scope(memory={"limit": 64 * MEBI}, cpu={"quota": 50000, "period": 100000})
    container = runtime.started(bundle)
    flags = ["--memory", str(32 * MEBI), "--cpu-quota", "30000", "--pids-limit", "20"]
    runtime("update", *flags, bundle.id).ok()
    cgroup = cgroup_of_bundle(bundle)
    found = shown(unit_of(bundle), "MemoryMax", "TasksMax")

    assert {"MemoryMax": str(32 * MEBI), "TasksMax": "20"} == found
    assert str(32 * MEBI) == value(cgroup, "memory.max")
    assert "20" == value(cgroup, "pids.max")
    assert "30000 100000" == value(cgroup, "cpu.max")
    if "crun" not in runtime.name:  # it has only its cgroup below the scope changed
        assert {"CPUQuotaPerSecUSec": "300ms"} == shown(unit_of(bundle), "CPUQuotaPerSecUSec")
    assert "running" == container.status


def test_an_update_of_a_quota_alone_keeps_the_period_and_the_other_way_round(runtime, new_scope):
    if "crun" in runtime.name:
        pytest.skip("crun does not tell systemd of an update of the quota")
    bundle = new_scope(cpu={"quota": 20000, "period": 40000})
    runtime.create(bundle)
    runtime("update", "--cpu-quota", "10000", bundle.id).ok()
    names = ("CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec")
    first = shown(unit_of(bundle), *names), value(cgroup_of_bundle(bundle), "cpu.max")
    runtime("update", "--cpu-period", "20000", bundle.id).ok()
    second = shown(unit_of(bundle), *names), value(cgroup_of_bundle(bundle), "cpu.max")

    assert ({names[0]: "250ms", names[1]: "40ms"}, "10000 40000") == first
    assert ({names[0]: "500ms", names[1]: "20ms"}, "10000 20000") == second


def test_an_update_that_cannot_be_changes_nothing(runtime, new_scope):
    if "aisbx" not in runtime.name:
        pytest.skip("the peers change what comes before the failure")
    bundle = new_scope(pids={"limit": 50})
    runtime.create(bundle)
    text = '{"pids": {"limit": 20}, "unified": {"memory.high": "nonsense"}}'
    result = runtime("update", "--resources", "-", bundle.id, text=text)

    assert result.code != 0
    assert "memory.high" in result.message
    assert "50" == value(cgroup_of_bundle(bundle), "pids.max")
    assert {"TasksMax": "50"} == shown(unit_of(bundle), "TasksMax")


def test_an_update_of_systemds_own_limits_is_kept(runtime, new_scope):
    bundle = new_scope(pids={"limit": 50})
    runtime.create(bundle)
    systemctl("set-property", "--runtime", unit_of(bundle), "MemoryHigh=40M").ok()
    runtime("update", "--pids-limit", "20", bundle.id).ok()

    assert str(40 * MEBI) == value(cgroup_of_bundle(bundle), "memory.high")


def test_pause_and_resume(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("pause").ok()
    frozen = value(cgroup_of(container.pid), "cgroup.events")
    container.verb("resume").ok()

    assert "frozen 1" in frozen
    assert "running" == container.status


def test_figures_are_those_of_the_scope(runtime, new_scope):
    container = runtime.started(new_scope(pids={"limit": 50}))
    result = runtime("events", "--stats", container.id).ok()

    assert '"limit":50' in result.out.replace(" ", "")


# ---- its end -------------------------------------------------------------------------------------
def test_the_scope_ends_with_its_last_process(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()

    assert set() == units.left()
    container.delete().ok()


@pytest.mark.parametrize("state", ["created", "running", "paused"])
def test_after_delete_there_is_no_unit_at_once(runtime, bundle, state):
    container = runtime.create(bundle.script("exec sleep 1000"))
    if state != "created":
        container.start()
    if state == "paused":
        container.verb("pause").ok()
    container.delete("--force").ok()

    assert set() == units.listed()
    assert not units.exists(cgroup_of_bundle(bundle))


def test_a_unit_that_failed_is_gone_after_delete(runtime, bundle):
    annotate(bundle, CollectMode="'inactive'", RuntimeMaxSec="1", TimeoutStopSec="1")
    container = runtime.started(bundle)
    container.wait()
    deadline = time.monotonic() + units.WAIT_S
    while shown(unit_of(bundle), "ActiveState")["ActiveState"] != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    container.delete().ok()

    assert set() == units.listed()


def test_a_process_outside_of_the_pid_namespace_ends_with_it(runtime, bundle):
    bundle.without_namespace("pid")
    container = runtime.ready(bundle, "sleep 1000 & echo ready; exec sleep 1001")
    container.delete("--force").ok()

    assert set() == units.listed()


def test_a_create_that_fails_leaves_no_unit(runtime, bundle):
    result = runtime.try_create(bundle.args("/does/not/exist"))

    assert result.code != 0
    assert set() == units.left()
    assert not units.exists(cgroup_of_bundle(bundle))


def test_a_hook_that_fails_leaves_no_unit(runtime, bundle):
    bundle.hook("createContainer", "/bin/false")
    bundle.hook("createRuntime", "/bin/false")

    assert runtime.try_create(bundle).code != 0
    assert set() == units.left()


def test_a_runtime_that_is_killed_leaves_no_unit_and_its_container_can_be_deleted(runtime, bundle):
    note = f"{bundle.path}/hook"
    script = f"echo $$ >{note}.new && mv {note}.new {note} && exec sleep 1000"
    bundle.hook("createRuntime", "/bin/sh", "-c", script)
    bundle.save()
    runtime.made.append(bundle.id)
    words = runtime.argv("create", "--bundle", bundle.path, bundle.id)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + units.WAIT_S
        while not os.path.exists(note):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        there = units.listed()
        process.send_signal(signal.SIGKILL)
    os.kill(int(host.text_of(note)), signal.SIGKILL)

    assert {unit_of(bundle)} == there
    assert set() == units.left()
    runtime("delete", "--force", bundle.id).ok()
    assert not os.path.exists(f"{runtime.root}/{bundle.id}")


@pytest.mark.parametrize("part", range(1, 11))
def test_a_create_that_is_killed_at_any_moment_leaves_no_unit(runtime, bundle, part):
    # Tenths of what one takes here.
    begin = time.monotonic()
    runtime.create(bundle).delete("--force").ok()
    takes_s = time.monotonic() - begin
    words = runtime.argv("create", "--bundle", bundle.path, bundle.id)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        time.sleep(takes_s * part / 10)
        process.kill()
    runtime("delete", "--force", bundle.id).ok()

    assert set() == units.left()
    assert not units.exists(cgroup_of_bundle(bundle))


# ---- names that are in use -----------------------------------------------------------------------
def test_a_scope_that_is_in_use_is_refused_and_lives_on(runtime, bundle, new_scope):
    container = runtime.started(bundle)
    other = new_scope()
    other.config["linux"]["cgroupsPath"] = bundle.config["linux"]["cgroupsPath"]
    result = runtime.try_create(other)
    runtime("delete", "--force", other.id).ok()

    assert result.code != 0
    assert unit_of(bundle) in result.message or "cgroup" in result.message
    assert "running" == container.status
    assert cgroup_of_bundle(bundle) == cgroup_of(container.pid)


def test_a_cgroup_that_somebody_else_has_made_there_is_refused_and_left_alone(runtime, bundle):
    if "aisbx" not in runtime.name:
        pytest.skip("with the peers systemd takes it over")
    path = f"{units.TOP}{cgroup_of_bundle(bundle)}"
    os.mkdir(path)
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            with open(f"{path}/cgroup.procs", "w") as out:
                out.write(str(process.pid))
            result = runtime.try_create(bundle)
            alive = process.poll() is None
        finally:
            process.kill()
    os.rmdir(path)

    assert result.code != 0
    assert "is not empty" in result.message
    assert alive


def test_a_leftover_that_failed_is_taken_over(runtime, bundle):
    words = ["--scope", f"--unit={unit_of(bundle)}", "-p", "RuntimeMaxSec=1", "sleep", "100"]
    subprocess.run(["systemd-run", *words], check=False, capture_output=True, timeout=60)
    deadline = time.monotonic() + units.WAIT_S
    while shown(unit_of(bundle), "ActiveState")["ActiveState"] != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    container = runtime.create(bundle)

    assert cgroup_of_bundle(bundle) == cgroup_of(container.pid)


def test_many_at_once_have_their_own(runtime, new_scope):
    bundles = [new_scope(pids={"limit": 20}) for _ in range(8)]
    started = []
    for bundle in bundles:
        bundle.script("exec sleep 1000").save()
        runtime.made.append(bundle.id)
        words = ["create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid", bundle.id]
        started.append(subprocess.Popen(runtime.argv(*words), stdin=subprocess.DEVNULL))
    codes = [process.wait(60) for process in started]
    found = [cgroup_of(host.text_of(f"{bundle.path}/pid")) for bundle in bundles]

    assert [0] * 8 == codes
    assert [cgroup_of_bundle(bundle) for bundle in bundles] == found
