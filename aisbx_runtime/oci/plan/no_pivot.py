"""--no-pivot: the rootfs is moved onto the old root, and what was mounted there is taken away.

For an initramfs, which can be covered but not be pivoted from. pivot_root itself is in `rootfs`.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.mountinfo import MountedAt, mount_id_of, mounts_here
from aisbx_runtime.oci.plan.rootfs import ChangeRoot
from aisbx_runtime.oci.record import record, replace

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
        old, new = mount_id_of(old_fd), mount_id_of(at.root_fd)
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


def _mounts(proc_fd: int) -> list[MountedAt]:
    """Return what is mounted below the root; the old one's path is a relative one by now."""
    return [replace(one, point=one.point[1:]) for one in mounts_here(proc_fd) if one.point != "/"]


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


def _cover(left: list[MountedAt]) -> None:
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
