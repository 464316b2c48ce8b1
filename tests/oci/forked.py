"""Running a test in a child with namespaces of its own: what it does to the kernel ends with it."""

from __future__ import annotations

import functools
import os
import traceback

import pytest

from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNS, unshare

# What the child exits with when its test failed, so that a test may kill it on purpose as well.
FAILED = 99


def private_mounts() -> None:
    """Leave the mounts of this machine: what is mounted from here on is seen by nobody else."""
    unshare(CLONE_NEWNS)
    root_fd = os.open("/", os.O_PATH)
    mount.mount_setattr(root_fd, propagation=mount.MS_PRIVATE, recursive=True)
    os.close(root_fd)


def run(function, *args, **kwargs) -> int:
    """Call `function` in a child with mounts of its own; return its wait status.

    What it raises fails the test here, with the child's traceback.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = FAILED
        try:
            os.close(read_fd)
            private_mounts()
            function(*args, **kwargs)
            code = 0
        except BaseException:  # noqa: BLE001
            os.write(write_fd, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(write_fd)
    with os.fdopen(read_fd, errors="replace") as file:
        said = file.read()
    _, status = os.waitpid(pid, 0)
    if said:
        pytest.fail(said, pytrace=False)
    return status


def forked(function):
    """Decorate a test: it runs in such a child, with the fixtures it asks for."""

    @functools.wraps(function)
    def test(*args, **kwargs):
        assert 0 == run(function, *args, **kwargs)

    return test


def mount_tmpfs(path: str, *options: str) -> None:
    """Mount a new tmpfs at a path that is there."""
    context_fd = mount.fsopen("tmpfs")
    for option in options:
        key, _, value = option.partition("=")
        mount.fsconfig_string(context_fd, key, value)
    mount.fsconfig_create(context_fd)
    tree_fd = mount.fsmount(context_fd, 0)
    mount.move_mount_to_path(tree_fd, path)
    os.close(tree_fd)
    os.close(context_fd)


def mounts_at(path: str) -> list[list[str]]:
    """Return the mountinfo fields of what is mounted at a path, the uppermost last."""
    with open("/proc/self/mountinfo") as lines:
        return [line.split() for line in lines if line.split()[4] == str(path)]
