"""Detaching a mount of a running container."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, KernelError, why_of
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.path import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import World


@record
class Unmount:
    """Detach the uppermost mount at a path, with all that is mounted below it."""

    target: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"unmount {self.target}"

    def apply(self, at: World) -> None:
        """Detach it. Symlinks are refused: a container could lead us to one of its masks."""
        try:
            resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
            fd = openat2(at.root_fd, self.target, os.O_PATH, resolve=resolve)
        except KernelError as error:
            hint = "name the path as it is inside, without symlinks"
            raise self._failure(error, hint) from None
        try:
            mount.umount_fd(at.proc_fd, fd, path=self.target)
        except KernelError as error:
            raise self._failure(error, "nothing is mounted at this path") from None
        finally:
            os.close(fd)

    def _failure(self, error: KernelError, hint: str) -> Failure:
        return Failure(f"cannot unmount {self.target}", why=why_of(error), hint=hint)
