"""Entering a running container: what `exec` does instead of making namespaces and a rootfs."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.kernel.namespaces import setns
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import World


@record
class EnterContainer:
    """Join the namespaces of init, and its root: with --no-pivot that is not the one of them.

    The pid namespace, when it is among them, is entered by children only (setns(2)).
    `before_birth` says that whoever has made this process has joined them all.
    """

    flags: int
    before_birth: bool
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "enter the namespaces and the root of container init"

    def apply(self, at: World) -> None:
        """Join them at once by pidfd, so that a user namespace gives the rights for the rest."""
        if self.flags and not self.before_birth:
            setns(at.pidfd, self.flags)
        os.fchdir(at.root_fd)
        os.chroot(".")
        os.chdir("/")
