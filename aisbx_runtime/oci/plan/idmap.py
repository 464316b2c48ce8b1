"""Id mapped mounts: files of a bind mount's source belong to other ids inside.

The mapping is that of a user namespace, which a child of the runtime lends: on-disk id
(`containerID`) -> id on the host (`hostID`), as if the mount's owner lived in there (config.md).
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, StepError, kernel_error, why_of
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWUSER
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import reap
from aisbx_runtime.oci.plan.namespaces import write_proc
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.oci.plan.step import World
    from aisbx_runtime.oci.spec.model import IdMapping, Linux, Mount
    from aisbx_runtime.oci.spec.mount_options import MountOptions

_HINTS = {
    errno.EINVAL: "the file system of the source knows no id mapping (ext4, xfs, btrfs do, tmpfs "
    "from Linux 6.3; overlay, proc, sysfs and most network ones do not): use another source",
    errno.EPERM: "the source is id mapped already, or its file system was not mounted by the "
    "runtime's user namespace (rootless): run as root, or drop the mapping",
}


@record
class MapIds:
    """Map the ids of a source that was taken before; it is still detached, as the kernel wants.

    Without mappings those of the user namespace that was opened by path are used.
    """

    source: str
    uid_mappings: tuple[IdMapping, ...]
    gid_mappings: tuple[IdMapping, ...]
    recursive: bool
    key: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        what = f"map the ids of {self.source}{' and all below it' if self.recursive else ''}"
        if not self.uid_mappings:
            return f"{what} as the user namespace of the container does"
        return f"{what}: uids {_shown(self.uid_mappings)}; gids {_shown(self.gid_mappings)}"

    def apply(self, at: World) -> None:
        """Set MOUNT_ATTR_IDMAP. See mount_setattr(2)."""
        tree_fd = at.trees.get(self.key, -1)
        if tree_fd < 0:
            # copy-symlink: the link is copied, and nothing is mounted.
            return
        if not self.uid_mappings:
            self._map(tree_fd, at.namespace_fds["user"])
            return
        user_namespace_fd = user_namespace(_lines(self.uid_mappings), _lines(self.gid_mappings))
        try:
            self._map(tree_fd, user_namespace_fd)
        finally:
            os.close(user_namespace_fd)

    def _map(self, tree_fd: int, user_namespace_fd: int) -> None:
        try:
            mount.map_ids(tree_fd, user_namespace_fd, recursive=self.recursive, path=self.source)
        except KernelError as error:
            raise StepError(
                f"cannot map the ids of {self.source}",
                where=self.origin,
                why=why_of(error),
                hint=_HINTS.get(error.errno or 0, ""),
            ) from None


def _shown(mappings: tuple[IdMapping, ...]) -> str:
    return ", ".join([f"{one.container_id} -> {one.host_id} x {one.size}" for one in mappings])


def _lines(mappings: tuple[IdMapping, ...]) -> str:
    return "".join([f"{one.container_id} {one.host_id} {one.size}\n" for one in mappings])


def user_namespace(uid_map: str, gid_map: str) -> int:
    """Return an fd of a new user namespace with these maps; nobody lives in it.

    Raises KernelError EPERM (uid_map, gid_map) where the runtime may not map such ids.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = clone3(CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(write_fd)
            # The end of the pipe is also the end of a runtime that was killed.
            os.read(read_fd, 1)
        finally:
            os._exit(0)
    os.close(read_fd)
    try:
        write_proc(pid, "uid_map", uid_map)
        write_proc(pid, "gid_map", gid_map)
        path = f"/proc/{pid}/ns/user"
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise kernel_error(error.errno or 0, "open", path) from None
    finally:
        os.close(write_fd)
        reap(pidfd)
        os.close(pidfd)


def step_of(key: str, one: Mount, options: MountOptions, source: str, linux: Linux) -> MapIds:
    """Return how the entry `key`, whose source was taken, gets its mapping.

    config.md: the mount's own mappings; without them those of the container's user namespace.
    """
    uid_mappings, gid_mappings = one.uid_mappings, one.gid_mappings
    origin = f"{key}.uidMappings"
    if not uid_mappings:
        origin = f"{key}.options"
        if any(space.type == "user" and not space.path for space in linux.namespaces):
            uid_mappings, gid_mappings = linux.uid_mappings, linux.gid_mappings
    return MapIds(source, uid_mappings, gid_mappings, options.ridmap, key, origin)


def works() -> bool:
    """Tell whether this process can map the ids of a mount on this kernel: by doing it."""
    try:
        user_namespace_fd = user_namespace("0 0 1\n", "0 0 1\n")
    except OSError:
        # No user namespaces, or not for us.
        return False
    try:
        return any(_can_map(tree_of, user_namespace_fd) for tree_of in (_new_tmpfs, _root_copy))
    finally:
        os.close(user_namespace_fd)


def _can_map(tree_of: Callable[[], int], user_namespace_fd: int) -> bool:
    try:
        tree_fd = tree_of()
    except OSError:
        # Not ours to mount.
        return False
    try:
        mount.map_ids(tree_fd, user_namespace_fd, recursive=False)
    except OSError:
        # Not this file system, or not this kernel.
        return False
    finally:
        os.close(tree_fd)
    return True


def _new_tmpfs() -> int:
    context_fd = mount.fsopen("tmpfs")
    try:
        mount.fsconfig_create(context_fd)
        return mount.fsmount(context_fd, 0)
    finally:
        os.close(context_fd)


def _root_copy() -> int:
    return mount.open_tree(mount.AT_FDCWD, "/", mount.OPEN_TREE_CLONE)
