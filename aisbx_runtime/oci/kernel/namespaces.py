"""Namespaces: joining, leaving, and the files that name them. See namespaces(7)."""

from __future__ import annotations

from aisbx_runtime.oci.kernel.call import check, libc

CLONE_NEWTIME = 0x00000080  # include/uapi/linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# OCI name -> (flag, file in /proc/PID/ns)
TYPES = {
    "user": (CLONE_NEWUSER, "user"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "network": (CLONE_NEWNET, "net"),
    "time": (CLONE_NEWTIME, "time"),
    "pid": (CLONE_NEWPID, "pid"),
    "mount": (CLONE_NEWNS, "mnt"),
}


def setns(fd: int, flags: int, *, path: str = "") -> None:
    """Join the namespace of a namespace file, or with a pidfd all those in `flags` at once.

    Raises KernelError EINVAL: another type, or not one to join from here; EPERM. See setns(2).
    """
    check(libc.setns(fd, flags), "setns", path)


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones. See unshare(2)."""
    check(libc.unshare(flags), "unshare")
