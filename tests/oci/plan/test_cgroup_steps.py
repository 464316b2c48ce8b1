"""Making cgroups and joining them, on the kernel."""

from __future__ import annotations

import os
import threading

import pytest

from aisbx_runtime.oci.errors import StepError
from aisbx_runtime.oci.kernel import process
from aisbx_runtime.oci.plan import cgroup_steps
from tests.oci.cgroups import HOST, PARENT, Container, World, read, v2_place

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


def test_a_cgroup_with_processes_in_a_child_is_refused(container):
    one = container()
    child = one.start("sys.stdin.read()")
    below = f"{one.paths[0]}/below"
    os.mkdir(below)
    with open(f"{below}/cgroup.procs", "w") as file:
        file.write(str(child.pid))
    with pytest.raises(StepError):
        Container(None)


def test_an_empty_cgroup_is_used_again(container):
    one = container()
    again = container()

    assert one.paths == again.paths
    assert again.world.owned == []


def test_a_parent_that_another_runtime_removes_is_made_again(container):
    container()
    done = threading.Event()
    parent = f"{HOST.hierarchies[0].mount_point}{PARENT}/shared"
    removed = 0

    def other_runtime() -> None:
        nonlocal removed
        while not done.is_set():
            try:
                os.rmdir(parent)
                removed += 1
            except OSError:
                continue

    step = cgroup_steps.MakeCgroup(
        "", HOST.hierarchies[0].mount_point, f"{parent}/leaf", inherited=()
    )
    thread = threading.Thread(target=other_runtime)
    thread.start()
    try:
        world = World()
        world.own = lambda kind, path: None
        for _ in range(300):
            step.apply(world)
            os.rmdir(f"{parent}/leaf")
    finally:
        done.set()
        thread.join()

    assert removed > 0


def test_without_permission_an_optional_cgroup_is_not_made(container, tmp_path):
    one = container()
    path = f"{one.paths[0]}/x"
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setresuid(65534, 65534, 65534)
            world = World()
            world.pid = os.getpid()
            step = cgroup_steps.MakeCgroup("", HOST.hierarchies[0].mount_point, path, optional=True)
            step.apply(world)
            cgroup_steps.JoinCgroup("", path, optional=True).apply(world)
            limit = cgroup_steps.Setting("", "pids.max", "1")
            cgroup_steps.WriteLimits("", path, (limit,), optional=True).apply(world)
            try:
                cgroup_steps.MakeCgroup("", HOST.hierarchies[0].mount_point, path).apply(world)
            except StepError as error:
                status = 0 if "EACCES" in error.why else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert not os.path.exists(path)
