"""A container in the mount namespace of the runtime: its mounts lie below one and go with it.

config-linux.md, Namespaces: a type that is not listed is inherited. Imported only for that.
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.host import read_text
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.mountinfo import mount_id_of, mounts_of
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World


@record
class CoverRootfs:
    """Mount the rootfs on itself: all mounts of the container come on top of that."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"mount the rootfs on itself, in the mount namespace of the host: {self.path}"

    def apply(self, at: World) -> None:
        """Journal it by the id that it keeps: an engine's own mount at this path must stay."""
        tree_fd = at.trees["root"]
        target_fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        path = os.readlink(f"/proc/self/fd/{target_fd}")
        at.own("mount", f"{mount_id_of(tree_fd)} {path}")
        mount.move_mount(tree_fd, target_fd, path=path)
        os.close(target_fd)


@record
class TakeCover:
    """Have it as the root."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "take this mount for the root"

    def apply(self, at: World) -> None:
        """Take what is inherited, and attached already."""
        at.root_fd = at.trees["root"]


def host_steps(path: str) -> list[Step]:
    """Return what follows when the rootfs is taken."""
    return [CoverRootfs(path, "root.path")]


def attach_steps() -> list[Step]:
    """Return how container init gets hold of the root."""
    return [TakeCover("root.path")]


def remove(journalled: list[str]) -> None:
    """Detach what `CoverRootfs` has mounted, with all below it. Raises Failure.

    `journalled` are "ID PATH". One that is not there has been unmounted, or never was.
    """
    for entry in reversed(journalled):
        number, _, path = entry.partition(" ")
        mounted = mounts_of(read_text("/proc/self/mountinfo"))
        here = [one for one in mounted if one.point == path]
        if not any(str(one.id) == number for one in here):
            continue
        if any(str(one.parent) == number for one in here):
            raise Failure(
                f"cannot unmount the rootfs of the container at {path}",
                why="somebody has mounted something else on it",
                hint=f"umount {path}, then delete the container again",
            )
        mount.umount_detach(path)
