"""The world that steps act on, over a directory of the test: no container, no runtime."""

from __future__ import annotations

import os

from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.plan.step import World


def world(rootfs) -> World:
    """Return a world whose root is attached at `rootfs`, with a procfs of its own."""
    at = World("one", "/bundle")
    at.root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY)
    at.proc_fd = mount.open_tree(mount.AT_FDCWD, "/proc", mount.OPEN_TREE_CLONE)
    return at


def apply(steps, at: World) -> None:
    for step in steps:
        step.apply(at)


def open_fds() -> set[str]:
    """Return what this process has open; the directory read for it is not counted."""
    return {
        f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}"
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}") or os.path.islink(f"/proc/self/fd/{fd}")
    }
