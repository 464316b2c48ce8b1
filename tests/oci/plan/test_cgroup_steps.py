"""Making cgroups and joining them, on the kernel."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.errors import StepError
from aisbx_runtime.oci.kernel import mount, process
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import reap
from aisbx_runtime.oci.plan.cgroup_make import MakeCgroup
from aisbx_runtime.oci.plan.cgroup_steps import JoinCgroup, Setting, WriteLimits
from aisbx_runtime.oci.plan.cgroup_v2 import DelegateCgroup
from tests.oci.cgroups import HOST, PARENT, Container, World, read, v2_place
from tests.oci.forked import forked

pytestmark = pytest.mark.root


def test_every_directory_is_journaled_before_it_is_made(container):
    one = container()
    expected = [
        f"{hierarchy.mount_point}{path}"
        for hierarchy in HOST.hierarchies
        for path in (PARENT, f"{PARENT}/c")
    ]

    assert sorted(expected) == sorted(one.world.owned)


def test_init_is_a_member_of_every_hierarchy(container):
    one = container()
    child = one.start("print('ready', flush=True)\nsys.stdin.read()")
    child.stdout.readline()
    mounted = {",".join(hierarchy.controllers) for hierarchy in HOST.hierarchies}
    lines = [line.split(":", 2) for line in read(f"/proc/{child.pid}/cgroup").splitlines()]

    assert {f"{PARENT}/c"} == {path for _, name, path in lines if name in mounted}


def test_init_can_be_born_in_its_cgroup(container):
    v2_place()
    one = container()
    # In a process of its own: the one that runs the tests may have threads.
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        child, _ = process.clone3(cgroup_fd=one.world.cgroup_fd)
        if child == 0:
            os.write(writer, read("/proc/self/cgroup").encode())
            os._exit(0)
        os.waitpid(child, 0)
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader) as file:
        assert f"0::{PARENT}/c" in file.read().splitlines()


def test_a_cgroup_with_processes_is_refused(container):
    one = container()
    one.start("sys.stdin.read()")
    with pytest.raises(StepError) as caught:
        Container(None)

    assert "is not empty" in caught.value.what


def test_a_frozen_cgroup_is_refused_for_who_joins_it_stops(container):
    one = container()
    frozen = [path for path in one.paths if os.path.exists(f"{path}/freezer.state")]
    name, word = ("freezer.state", "FROZEN") if frozen else ("cgroup.freeze", "1")
    places = frozen or [path for path in one.paths if os.path.exists(f"{path}/{name}")]
    if not places:
        pytest.skip("no freezer on this host")
    with open(f"{places[0]}/{name}", "w") as file:
        file.write(word)
    with pytest.raises(StepError) as caught:
        Container(None)

    assert "unexpectedly frozen" in caught.value.what


def test_a_cgroup_with_processes_in_a_child_is_refused(container):
    one = container()
    child = one.start("sys.stdin.read()")
    below = f"{one.paths[0]}/below"
    os.mkdir(below)
    with open(f"{below}/cgroup.procs", "w") as file:
        file.write(str(child.pid))
    with pytest.raises(StepError):
        Container(None)


def test_an_empty_cgroup_is_made_anew(container):
    one = container()
    before = [os.stat(path).st_ino for path in one.paths]
    again = container()

    assert one.paths == again.paths
    assert list(one.paths) == again.world.owned
    assert before != [os.stat(path).st_ino for path in again.paths]


def test_whoever_is_born_in_a_cgroup_that_was_killed_lives(container):
    one = container()
    if not os.path.exists(f"{one.paths[0]}/cgroup.kill"):
        pytest.skip("no cgroup v2 is mounted")
    with open(f"{one.paths[0]}/cgroup.kill", "w") as file:
        file.write("1")
    again = container()
    fd = os.open(again.paths[0], os.O_PATH | os.O_DIRECTORY)
    pid, pidfd = clone3(0, cgroup_fd=fd)
    if pid == 0:
        os._exit(7)
    os.close(fd)

    assert 7 == reap(pidfd)
    os.close(pidfd)


def test_a_parent_that_another_runtime_removes_is_made_again(container):
    container()
    parent = f"{HOST.hierarchies[0].mount_point}{PARENT}/shared"
    removed = 0

    class Race(World):
        def own(self, kind: str, path: str) -> None:
            # Called between mkdir of the parent and mkdir of the leaf.
            nonlocal removed
            super().own(kind, path)
            if path == f"{parent}/leaf" and removed < 5:
                os.rmdir(parent)
                removed += 1

    MakeCgroup("", HOST.hierarchies[0].mount_point, f"{parent}/leaf").apply(Race())

    assert removed == 5
    assert os.path.isdir(f"{parent}/leaf")


def test_a_mount_point_that_is_missing_is_an_error(tmp_path):
    mount_point = f"{tmp_path}/nothing"
    with pytest.raises(StepError) as caught:
        MakeCgroup("linux.cgroupsPath", mount_point, f"{mount_point}/a").apply(World())

    assert "ENOENT" in caught.value.why


def test_without_permission_an_optional_cgroup_is_not_made(container):
    one = container()
    path = f"{one.paths[0]}/x"
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setresuid(65534, 65534, 65534)
            world = World()
            world.pid = os.getpid()
            step = MakeCgroup("", HOST.hierarchies[0].mount_point, path, optional=True)
            step.apply(world)
            JoinCgroup("", path, optional=True).apply(world)
            limit = Setting("", "pids.max", "1")
            WriteLimits("", path, (limit,), optional=True).apply(world)
            try:
                MakeCgroup("", HOST.hierarchies[0].mount_point, path).apply(world)
            except StepError as error:
                status = 0 if "EACCES" in error.why else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert not os.path.exists(path)


@pytest.mark.cgroup2
def test_a_parent_with_processes_cannot_pass_a_controller_on(container):
    # cgroups(7), "no internal processes".
    controllers = v2_controllers()
    one = container()
    one.start("sys.stdin.read()")
    (path,) = [path for path in one.paths if os.path.exists(f"{path}/cgroup.kill")]
    below = f"{path}/below"
    for name in controllers:
        with pytest.raises(StepError) as caught:
            MakeCgroup("", path, below, needed=(name,)).apply(World())

        assert "EBUSY" in caught.value.why
        assert "processes" in caught.value.hint
    # What is only offered is left out: the kernel would take cpu and pids, and let nobody in.
    MakeCgroup("", path, below, offered=controllers).apply(World())
    assert read(f"{below}/cgroup.type") == "domain"


@pytest.mark.cgroup2
def test_controllers_are_enabled_all_the_way_down(container):
    controllers = v2_controllers()
    one = container()
    (path,) = [path for path in one.paths if os.path.exists(f"{path}/cgroup.kill")]
    MakeCgroup("", path, f"{path}/a/b", needed=controllers[:1], offered=controllers).apply(World())

    assert set(controllers) == set(read(f"{path}/a/b/cgroup.controllers").split())


@pytest.mark.cgroup2
def test_a_controller_that_is_not_delegated_is_an_error(container):
    v2_controllers()
    path = container().paths[0]
    with pytest.raises(StepError) as caught:
        MakeCgroup("", path, f"{path}/below", needed=("nothing",)).apply(World())

    assert '"nothing"' in caught.value.what


def v2_controllers() -> tuple[str, ...]:
    found = [one.available for one in HOST.hierarchies if one.version == 2]
    wanted = tuple([name for name in ("cpu", "memory", "pids") if name in (found or [()])[0]])
    if len(wanted) < 3 or not HOST.unified:
        pytest.skip("no cgroup v2 with cpu, memory and pids is mounted")
    return wanted


def test_a_cgroup_can_be_given_away(container):
    path = v2_place().path
    container()
    DelegateCgroup("", path, 65534).apply(World())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setresuid(65534, 65534, 65534)
            os.mkdir(f"{path}/mine")
            with open(f"{path}/cgroup.procs", "w"), open(f"{path}/mine/cgroup.procs", "w"):
                status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    # The limits of the container itself stay the runtime's.
    assert os.stat(f"{path}/cgroup.max.depth").st_uid == 0


@pytest.mark.parametrize("listed", [None, "cgroup.procs cgroup.freeze memory.oom.group"])
@forked
def test_the_files_given_away_are_those_that_the_kernel_lists_or_three(tmp_path, listed):
    # A plain directory: what is tested is which names are tried.
    files = (
        "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "cgroup.freeze", "memory.max",
    )  # fmt: skip
    for name in files:
        (tmp_path / name).touch()
    context_fd = mount.fsopen("tmpfs")
    mount.fsconfig_create(context_fd)
    mount.move_mount_to_path(mount.fsmount(context_fd, 0), "/sys/kernel/cgroup")
    if listed is not None:
        with open("/sys/kernel/cgroup/delegate", "w") as file:
            file.write(listed.replace(" ", "\n"))
    DelegateCgroup("", f"{tmp_path}", 65534).apply(World())
    given = {name for name in files if (tmp_path / name).stat().st_uid == 65534}

    assert given == (
        {"cgroup.procs", "cgroup.freeze"}
        if listed
        else {"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"}
    )
