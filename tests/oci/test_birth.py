"""How container init is born: by whom, and in which namespaces."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci import birth, channel
from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel.namespaces import TYPES, unshare
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import reap
from aisbx_runtime.oci.plan.step import Birth, World
from tests.oci.forked import forked

pytestmark = pytest.mark.root


def own(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{TYPES[kind][1]}")


def opened(*kinds: str) -> tuple[World, dict[str, str]]:
    """Return a world with new namespaces opened by path, and their names."""
    pid, pidfd = clone3(sum(TYPES[kind][0] for kind in kinds))
    if pid == 0:
        os.read(os.pipe()[0], 1)
        os._exit(0)
    at = World("one", "/bundle")
    names = {}
    for kind in kinds:
        path = f"/proc/{pid}/ns/{TYPES[kind][1]}"
        names[kind] = os.readlink(path)
        at.namespace_fds[kind] = os.open(path, os.O_RDONLY)
    os.kill(pid, 9)
    reap(pidfd)
    return at, names


def born(asked: Birth, at: World, check) -> None:
    """Give birth; `check` runs in the child."""
    create, init = channel.pair()
    pid = birth.give_birth(asked, at, create, init)
    if pid == 0:
        code = 1
        try:
            check()
            code = 0
        finally:
            os._exit(code)

    assert pid == at.pid
    assert 0 == reap(at.pidfd)


@pytest.mark.parametrize("kind", ["uts", "ipc", "network", "mount", "pid", "user", "time"])
@forked
def test_new_namespaces_are_the_childs_and_not_ours(kind):
    before = own(kind)

    def check():
        # A new pid namespace has no procfs here that could tell: its first process is 1.
        assert os.getpid() == 1 if kind == "pid" else before != own(kind)

    born(Birth((kind,), (), False, ()), World("one", "/bundle"), check)

    assert before == own(kind)


@forked
def test_the_cgroup_namespace_is_left_to_init():
    before = own("cgroup")

    def check():
        assert before == own("cgroup")

    born(Birth(("cgroup",), (), False, ()), World("one", "/bundle"), check)


@forked
def test_offsets_are_set_before_anybody_is_in_there():
    offsets = (("boottime", 100_000_000, 0), ("monotonic", 5, 0))

    def check():
        import time

        assert time.clock_gettime(time.CLOCK_BOOTTIME) > 100_000_000

    born(Birth(("time",), (), False, offsets), World("one", "/bundle"), check)
    with open("/proc/uptime") as file:
        assert float(file.read().split()[0]) < 100_000_000


@forked
def test_with_a_user_namespace_init_joins_by_an_intermediate_and_is_our_child():
    at, names = opened("user", "uts", "network")
    parent = os.getpid()

    def check():
        assert names == {kind: own(kind) for kind in names}
        assert parent == os.getppid()

    born(Birth((), ("user", "uts", "network"), True, ()), at, check)


@forked
def test_what_cannot_be_joined_is_an_error():
    at = World("one", "/bundle")
    at.namespace_fds["uts"] = os.open("/proc/self/ns/ipc", os.O_RDONLY)
    with pytest.raises(KernelError) as caught:
        birth.join(["uts"], at)

    assert ("setns", "uts") == (caught.value.syscall, caught.value.filename)


@forked
def test_namespaces_are_joined_outer_first():
    at, names = opened("uts", "ipc")
    unshare(TYPES["uts"][0])
    birth.join(["uts", "ipc"], at)

    assert names == {"uts": own("uts"), "ipc": own("ipc")}
