"""cgroup v2: freezing, killing, running out of memory, and who may do what in which cgroup."""

from __future__ import annotations

import json
import os
import select
import subprocess

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.runtime import TIMEOUT_S

MEBI = 1 << 20
TOP = "/sys/fs/cgroup"
pytestmark = [needs.unified, needs.cgroups]


def value(bundle, name):
    return host.text_of(f"{TOP}{bundle.cgroup}/{name}").strip()


def events(bundle, name="cgroup.events"):
    return dict(line.split() for line in value(bundle, name).splitlines())


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def is_down(pid):
    """Wait until a process is gone, or a zombie."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], TIMEOUT_S)[0])
    finally:
        os.close(pidfd)


# ---- freezer, kill, memory that runs out ---------------------------------------------------------
def test_pause_freezes_the_cgroup_and_what_is_below(runtime, bundle):
    container = runtime.started(bundle)
    os.mkdir(f"{TOP}{bundle.cgroup}/below")
    container.verb("pause").ok()
    path = f"{TOP}{bundle.cgroup}"
    paused = value(bundle, "cgroup.freeze"), events(bundle)["frozen"]
    below = "frozen 1" in host.text_of(f"{path}/below/cgroup.events")
    container.verb("resume").ok()

    assert (*paused, below) == ("1", "1", True)
    assert events(bundle)["frozen"] == "0"


def shared_pids(runtime, bundle, path):
    """Start a container of three processes in two cgroups that all may outlive its init."""
    bundle.without_namespace("pid")
    script = "sleep 1000 & sleep 1000 & echo ready; wait"
    container = runtime.ready(bundle, script)
    own = [int(word) for word in value(bundle, "cgroup.procs").split()]
    os.mkdir(f"{TOP}{path}")
    write(f"{TOP}{path}/cgroup.procs", str(max(own)))
    return container, own


@pytest.mark.parametrize("paused", [False, True])
def test_every_process_below_is_killed(runtime, bundle, paused):
    container, own = shared_pids(runtime, bundle, f"{bundle.cgroup}/below")
    if paused:
        container.verb("pause").ok()
    container.kill("KILL").ok()

    assert len(own) == 3
    assert all(is_down(pid) for pid in own)
    os.rmdir(f"{TOP}{bundle.cgroup}/below")


def test_a_forced_delete_removes_the_cgroups_below(runtime, bundle):
    container, own = shared_pids(runtime, bundle, f"{bundle.cgroup}/below")
    container.delete("--force").ok()

    assert all(is_down(pid) for pid in own)
    assert not os.path.exists(f"{TOP}{bundle.cgroup}")


EATER = "(tail -c 200000000 /dev/zero; true); echo survived"


@needs.controllers("memory")
@pytest.mark.parametrize(("group", "code"), [("0", 0), ("1", 137)])
def test_memory_that_runs_out_kills_one_process_or_all(runtime, bundle, group, code):
    bundle.resources(
        memory={"limit": 16 * MEBI, "swap": 16 * MEBI}, unified={"memory.oom.group": group}
    )
    container = runtime.create(bundle.script(EATER)).start()
    found = container.wait()
    counts = events(bundle, "memory.events")

    assert found == code
    assert int(counts["oom_kill"]) >= 1
    assert counts["oom_group_kill"] == group


@needs.controllers("memory", "pids", "cpu", "io")
def test_the_figures_are_those_of_the_kernel(runtime, bundle):
    bundle.resources(memory={"limit": 64 * MEBI}, pids={"limit": 40})
    container = runtime.ready(bundle, "sleep 1000 & echo ready; wait")
    data = json.loads(container.verb("events", "--stats").ok().out)["data"]
    stat = dict(line.split() for line in value(bundle, "memory.stat").splitlines())

    assert data["pids"] == {"current": 2, "limit": 40}
    assert data["memory"]["usage"]["limit"] == 64 * MEBI
    assert set(stat) <= set(data["memory"]["raw"])


# ---- the cgroup namespace ------------------------------------------------------------------------
@pytest.mark.parametrize("private", [True, False])
def test_a_cgroup_namespace_hides_where_the_container_is(runtime, bundle, private):
    if private:
        bundle.namespace("cgroup")
    seen = runtime.run(bundle, "grep ^0: /proc/self/cgroup").ok().out

    assert seen == f"0::{'/' if private else bundle.cgroup}\n"


def test_a_cgroup_namespace_has_its_root_mounted(runtime, bundle):
    bundle.namespace("cgroup")
    # The root of the hierarchy has no cgroup.type.
    lines = runtime.run(bundle, "cd /sys/fs/cgroup; cat cgroup.type cgroup.procs").ok().lines

    assert lines[:2] == ["domain", "1"]


# ---- delegation ----------------------------------------------------------------------------------
NOT_BY_CGROUPFS = "it gives cgroups to users with the systemd manager only"


def delegated(bundle, uid=1000, *, mode="rw"):
    """Make the container a user's, with a cgroup namespace and a cgroup mount."""
    bundle.namespace("cgroup")
    bundle.config["process"]["user"] = {"uid": uid, "gid": uid}
    for entry in bundle.config["mounts"]:
        if entry["type"] == "cgroup":
            entry["options"] = ["nosuid", "noexec", "nodev", "relatime", mode]
    return bundle


def owned_by(bundle, uid):
    """Return the files of the container's cgroup that are the user's; "." is the directory."""
    path = f"{TOP}{bundle.cgroup}"
    return {name for name in (".", *os.listdir(path)) if os.stat(f"{path}/{name}").st_uid == uid}


def files_to_give(bundle):
    listed = host.text_of("/sys/kernel/cgroup/delegate").split()
    return {".", *listed} & {".", *os.listdir(f"{TOP}{bundle.cgroup}")}


def test_the_user_is_given_what_the_kernel_lists_and_no_more(runtime, bundle):
    runtime.started(delegated(bundle))
    found = owned_by(bundle, 1000)
    known_of_runc(runtime, NOT_BY_CGROUPFS, seen=not found)

    assert found == files_to_give(bundle)


def test_the_root_of_a_user_namespace_is_given_the_cgroup(runtime, bundle):
    runtime.started(delegated(bundle.user_namespace(), 0))
    found = owned_by(bundle, 100000)
    known_of_runc(runtime, NOT_BY_CGROUPFS, seen=not found)

    assert found == files_to_give(bundle)


@pytest.mark.parametrize("lack", ["read-write", "namespace"])
def test_nothing_is_given_to_who_cannot_use_it(runtime, bundle, lack):
    delegated(bundle.user_namespace(), 0, mode="ro" if lack == "read-write" else "rw")
    if lack == "namespace":
        bundle.without_namespace("cgroup")
    runtime.started(bundle)

    assert owned_by(bundle, 100000) == set()


@needs.controllers("pids")
def test_the_root_of_a_user_namespace_makes_cgroups_within_its_limits(runtime, bundle):
    delegated(bundle.user_namespace(), 0).resources(pids={"limit": 30})
    script = """
        mkdir /sys/fs/cgroup/init && echo $$ >/sys/fs/cgroup/init/cgroup.procs &&
        echo +pids >/sys/fs/cgroup/cgroup.subtree_control && echo 9 >/sys/fs/cgroup/init/pids.max &&
        cat /sys/fs/cgroup/init/pids.max /proc/self/cgroup
        echo 99 >/sys/fs/cgroup/pids.max || echo refused
    """
    result = runtime.run(bundle, script)
    known_of_runc(runtime, NOT_BY_CGROUPFS, seen=result.out == "refused\n")

    assert result.out == "9\n0::/init\nrefused\n"


# ---- parents with processes, threaded parents ----------------------------------------------------
@pytest.fixture
def parent(bundle, expected_processes):
    """A cgroup of the host's, with one process in it, above the container's."""
    path = f"{TOP}/{bundle.id}-parent"
    os.mkdir(path)
    sleeper = subprocess.Popen(["sleep", "1000"])
    write(f"{path}/cgroup.procs", str(sleeper.pid))
    bundle.cgroup = f"/{bundle.id}-parent/{bundle.id}"
    bundle.config["linux"]["cgroupsPath"] = bundle.cgroup
    yield path
    sleeper.kill()
    sleeper.wait()
    host.remove_cgroups(f"{bundle.id}-parent")


THREADS = "it makes the parent threaded, as the kernel does unasked"


def kind_of(path):
    """Return cgroup.type: a domain becomes threaded for the sake of its children only."""
    return host.text_of(f"{path}/cgroup.type").strip()


@needs.controllers("memory")
def test_a_limit_below_a_parent_with_processes_is_refused(runtime, bundle, parent):
    bundle.resources(memory={"limit": 64 * MEBI})
    result = runtime.try_create(bundle)
    left, kind = os.path.exists(f"{TOP}{bundle.cgroup}"), kind_of(parent)
    known_of_runc(runtime, THREADS, seen=result.code != 0 and kind == "domain threaded")

    assert (result.code != 0, left, kind) == (True, False, "domain")


def test_a_container_without_limits_lives_below_a_parent_with_processes(runtime, bundle, parent):
    container = runtime.started(bundle)
    threads, kind = value(bundle, "cgroup.threads"), kind_of(parent)
    container.delete("--force").ok()
    known_of_runc(runtime, THREADS, seen=kind == "domain threaded")

    assert (threads, kind) == (str(container.pid), "domain")


@pytest.fixture
def threaded_parent(bundle):
    """A threaded cgroup above the container's."""
    top, path = f"{TOP}/{bundle.id}-parent", f"{TOP}/{bundle.id}-parent/threaded"
    os.makedirs(path)
    write(f"{path}/cgroup.type", "threaded")
    bundle.cgroup = f"/{bundle.id}-parent/threaded/{bundle.id}"
    bundle.config["linux"]["cgroupsPath"] = bundle.cgroup
    yield path
    host.remove_cgroups(os.path.basename(top))


@needs.controllers("memory")
def test_memory_below_a_threaded_parent_is_refused(runtime, bundle, threaded_parent):
    bundle.resources(memory={"limit": 64 * MEBI})
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert "threaded" in result.err or "memory" in result.err
    assert not os.path.exists(f"{TOP}{bundle.cgroup}")


@needs.controllers("pids")
def test_a_container_below_a_threaded_parent_is_threaded(runtime, bundle, threaded_parent):
    bundle.resources(pids={"limit": 20})
    container = runtime.started(bundle)
    names = ("cgroup.type", "pids.max", "pids.current", "cgroup.threads")
    found = [value(bundle, name) for name in names]
    seen = container.sh("grep ^0: /proc/self/cgroup")
    container.delete("--force").ok()

    assert found == ["threaded", "20", "1", str(container.pid)]
    assert seen == f"0::{bundle.cgroup}\n"


@needs.controllers("pids")
def test_every_process_of_a_threaded_container_is_known_and_killed(
    runtime, bundle, threaded_parent
):
    # cgroup.procs cannot be read there, and there is no cgroup.kill.
    bundle.without_namespace("pid")
    container = runtime.ready(bundle, "sleep 1000 & sleep 1000 & echo ready; wait")
    threads = [int(word) for word in value(bundle, "cgroup.threads").split()]
    listed = container.verb("ps", "--format", "json")
    deleted = container.delete("--force")
    if deleted.code:
        write(f"{os.path.dirname(threaded_parent)}/cgroup.kill", "1")
        container.delete("--force").ok()
    known_of_runc(runtime, "it neither lists nor kills them", seen=deleted.code != 0)

    assert deleted.code == 0
    assert len(threads) == 3
    assert sorted(json.loads(listed.ok().out)) == sorted(threads)
    assert all(is_down(pid) for pid in threads)
