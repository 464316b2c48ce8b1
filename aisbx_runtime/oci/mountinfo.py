"""What the kernel tells of mounts: the lines of a mountinfo, and the mount that an fd lies in.

Imported only by what is rare: no plain create, start or delete asks.
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.host import read_text, unescape
from aisbx_runtime.oci.record import record


@record
class MountedAt:
    """One line of a mountinfo: proc_pid_mountinfo(5). `point` is where, for whom it was read."""

    id: int
    parent: int
    root: str
    point: str
    fs_type: str


def mounts_of(mountinfo: str) -> list[MountedAt]:
    """Return the mounts that the text of a mountinfo lists, in its order."""
    found: list[MountedAt] = []
    # Not splitlines(): a path may hold what else Unicode takes for the end of a line.
    for line in mountinfo.split("\n"):
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        fields = left.split(" ")
        point = unescape(fields[4])
        kind = right.split(" ")[0]
        found.append(MountedAt(int(fields[0]), int(fields[1]), fields[3], point, kind))
    return found


def mounts_here(proc_fd: int) -> list[MountedAt]:
    """Return the mounts of this process; the procfs by its fd, where /proc may be another one."""
    fd = os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
    text = b""
    try:
        while chunk := os.read(fd, 65536):
            text += chunk
    finally:
        os.close(fd)
    return mounts_of(os.fsdecode(text))


def mount_id(fdinfo: str) -> int:
    """Return the id, as in mountinfo, of the mount that a file of /proc/PID/fdinfo tells of.

    -1 where it tells of none. See proc_pid_fdinfo(5).
    """
    for line in read_text(fdinfo).splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return int(value)
    return -1


def mount_id_of(fd: int) -> int:
    """Return the id of the mount that an fd of this process lies in."""
    return mount_id(f"/proc/self/fdinfo/{fd}")
