"""`linux.maskedPaths` and `linux.readonlyPaths`: what the container may not read, or not change."""

from __future__ import annotations

import errno
import stat

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, KernelError
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.mount import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, OPEN_TREE_CLONE
from aisbx_runtime.oci.kernel.path import open_in_root
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Spec

_NULL_DEVICE = os.makedev(1, 3)
NULL_ATTRIBUTES = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC


@record
class PrepareMasks:
    """Take the host's /dev/null and make one empty read-only directory, to cover paths with.

    The container's own /dev/null may be anything (CVE-2025-31133): it is never used. The host's is
    an inode of the host: on a writable mount root in the container could change its mode.
    """

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "take the host's /dev/null and an empty directory for masking"

    def apply(self, at: World) -> None:
        """Open both while paths still lead to the old root."""
        null_fd = mount.open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE)
        found = os.fstat(null_fd)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _NULL_DEVICE:
            raise Failure("the host's /dev/null is not the null device")
        # Whoever may open the device can write to it all the same; nodev would forbid to open it.
        # Private: what is mounted on a mask must not appear on the host's /dev/null.
        mount.mount_setattr(
            null_fd, attr_set=NULL_ATTRIBUTES, propagation=mount.MS_PRIVATE, path="/dev/null"
        )
        context_fd = mount.fsopen("tmpfs")
        try:
            mount.fsconfig_string(context_fd, "size", "0")
            mount.fsconfig_string(context_fd, "nr_inodes", "1")
            mount.fsconfig_string(context_fd, "mode", "755")
            mount.fsconfig_create(context_fd)
            attributes = (
                mount.MOUNT_ATTR_RDONLY
                | mount.MOUNT_ATTR_NOSUID
                | mount.MOUNT_ATTR_NODEV
                | mount.MOUNT_ATTR_NOEXEC
            )
            directory_fd = mount.fsmount(context_fd, attributes)
        finally:
            os.close(context_fd)
        at.masks = {"file": null_fd, "directory": directory_fd}


@record
class MaskPath:
    """Cover a file with the null device, or a directory with an empty one."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"mask {self.path}"

    def apply(self, at: World) -> None:
        """Cover it; a path that is not there needs no mask (config-linux.md)."""
        target_fd = _open_existing(at.root_fd, self.path)
        if target_fd < 0:
            return
        kind = "directory" if stat.S_ISDIR(os.fstat(target_fd).st_mode) else "file"
        if kind in at.masks_in_use:
            # open_tree(2): a detached mount can be copied since Linux 6.15, an attached one always.
            tree_fd = mount.open_tree(at.masks[kind], "", OPEN_TREE_CLONE | AT_EMPTY_PATH)
            mount.move_mount(tree_fd, target_fd, path=self.path)
            os.close(tree_fd)
        else:
            mount.move_mount(at.masks[kind], target_fd, path=self.path)
            at.masks_in_use.add(kind)
        os.close(target_fd)


@record
class MakePathReadOnly:
    """Bind a path on itself, read-only with all below it."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"make {self.path} read-only"

    def apply(self, at: World) -> None:
        """Cover it with a read-only copy; a path that is not there is skipped, as in every peer."""
        target_fd = _open_existing(at.root_fd, self.path)
        if target_fd < 0:
            return
        flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE
        tree_fd = mount.open_tree(target_fd, "", flags)
        mount.mount_setattr(
            tree_fd, attr_set=mount.MOUNT_ATTR_RDONLY, recursive=True, path=self.path
        )
        mount.move_mount(tree_fd, target_fd, path=self.path)
        os.close(tree_fd)
        os.close(target_fd)


def _open_existing(root_fd: int, path: str) -> int:
    try:
        return open_in_root(root_fd, path)
    except KernelError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return -1
        raise


def prepare_steps(spec: Spec) -> list[Step]:
    """Return what must be taken from the old root for masking."""
    return [PrepareMasks("linux.maskedPaths")] if spec.linux.masked_paths else []


def confine_steps(spec: Spec) -> list[Step]:
    """Return the read-only paths, then the masked ones: a mask inside a read-only path stays."""
    steps: list[Step] = [
        MakePathReadOnly(path, f"linux.readonlyPaths[{index}]")
        for index, path in enumerate(spec.linux.readonly_paths)
    ]
    steps.extend(
        [
            MaskPath(path, f"linux.maskedPaths[{index}]")
            for index, path in enumerate(spec.linux.masked_paths)
        ]
    )
    return steps
