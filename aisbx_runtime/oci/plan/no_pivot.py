"""--no-pivot: the rootfs is moved onto the old root, and what was mounted there is taken away.

For an initramfs, which can be covered but not be pivoted from. pivot_root itself is in `rootfs`.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.host import read_text, unescape
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.plan.rootfs import ChangeRoot
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World

# Whoever makes user namespaces may mount these anew where they are seen in full already.
_GUARDED = frozenset({"proc", "sysfs"})


@record
class CoverRoot:
    """Move the rootfs onto the old root: a chroot alone can be left by its `..`."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "move the rootfs onto the old root, take the mounts of the host away"

    def apply(self, at: World) -> None:
        """Move it, then detach what was mounted on the old root.

        With the host's procfs left in this mount namespace, a user namespace within the container
        may mount one without masked and read-only paths (mount_too_revealing() of the kernel).
        """
        old_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        old, new = _mount_id(old_fd), _mount_id(at.root_fd)
        mount.move_mount_to_path(at.root_fd, "/")
        # Below the rootfs now, where only this directory leads to.
        os.fchdir(old_fd)
        os.close(old_fd)
        # Again while it helps: what another mount has covered only now has a path.
        while below := [one for one in _mounts(proc_fd) if one.parent == old and one.id != new]:
            gone = [_detach(one.point) for one in reversed(below)]
            if not any(gone):
                _cover([one for one in _mounts(proc_fd) if one.id != new])
                break
        os.close(proc_fd)


@record
class _Mount:
    """What one line of mountinfo tells, the path from the root on."""

    id: str
    parent: str
    root: str
    point: str
    fs_type: str


def _mounts(proc_fd: int) -> list[_Mount]:
    fd = os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
    text = b""
    while chunk := os.read(fd, 65536):
        text += chunk
    os.close(fd)
    found: list[_Mount] = []
    for line in os.fsdecode(text).split("\n"):
        # proc_pid_mountinfo(5): id, parent, device, root, mount point, ... - type, ...
        words = line.split(" ")
        if len(words) > 5 and words[4] != "/":
            kind = words[words.index("-") + 1]
            found.append(_Mount(words[0], words[1], words[3], unescape(words[4])[1:], kind))
    return found


def _mount_id(fd: int) -> str:
    # proc_pid_fdinfo(5): mnt_id, as in mountinfo.
    return read_text(f"/proc/self/fdinfo/{fd}").partition("mnt_id:")[2].split()[0]


def _detach(point: str) -> bool:
    """Detach what is mounted there with all below it; tell whether it could be."""
    try:
        mount.umount_detach(point)
    except KernelError as error:
        # Locked by the user namespace, gone with another, or covered by another.
        if error.errno not in {errno.EINVAL, errno.EPERM, errno.ENOENT, errno.ENOTDIR}:
            raise
        return False
    return True


def _cover(left: list[_Mount]) -> None:
    """Mount an empty file system over each procfs and sysfs that could not be taken away."""
    for one in left:
        if one.root == "/" and one.fs_type in _GUARDED:
            context_fd = mount.fsopen("tmpfs")
            mount.fsconfig_create(context_fd)
            tree_fd = mount.fsmount(context_fd, mount.MOUNT_ATTR_RDONLY)
            mount.move_mount_to_path(tree_fd, one.point)
            os.close(tree_fd)
            os.close(context_fd)


def steps() -> list[Step]:
    """Return how container init enters the root."""
    return [CoverRoot("--no-pivot"), ChangeRoot("--no-pivot")]
