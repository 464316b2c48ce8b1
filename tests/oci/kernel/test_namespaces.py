"""Leaving and joining namespaces."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import namespaces
from tests.oci.forked import forked

pytestmark = pytest.mark.root


def names() -> dict[str, str]:
    return {
        kind: os.readlink(f"/proc/self/ns/{file}") for kind, (_, file) in namespaces.TYPES.items()
    }


@pytest.mark.parametrize("kind", [kind for kind in namespaces.TYPES if kind not in {"pid", "time"}])
@forked
def test_unshare_leaves_one_namespace_and_setns_comes_back(kind):
    flag, file = namespaces.TYPES[kind]
    before = names()
    own_fd = os.open(f"/proc/self/ns/{file}", os.O_RDONLY)
    namespaces.unshare(flag)
    changed = {name for name, value in names().items() if value != before[name]}

    assert {kind} == changed
    if kind == "user":
        # setns(2): the parent is no namespace to join.
        with pytest.raises(KernelError) as caught:
            namespaces.setns(own_fd, flag)

        assert errno.EPERM == caught.value.errno
        return
    namespaces.setns(own_fd, flag)

    assert before == names()


@pytest.mark.parametrize("kind", ["pid", "time"])
@forked
def test_these_are_entered_by_children_only(kind):
    flag, file = namespaces.TYPES[kind]
    namespaces.unshare(flag)
    own = os.readlink(f"/proc/self/ns/{file}")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if own != os.readlink(f"/proc/self/ns/{file}") else 1)

    assert 0 == os.waitpid(pid, 0)[1]


@forked
def test_a_namespace_of_another_type_is_refused():
    fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
    with pytest.raises(KernelError) as caught:
        namespaces.setns(fd, namespaces.CLONE_NEWNET, path="network")

    assert ("setns", errno.EINVAL, "network") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )
