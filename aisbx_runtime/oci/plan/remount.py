"""`remount` entries of `mounts`: new options for what is mounted at the destination already."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, KernelError, why_of
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.path import open_in_root
from aisbx_runtime.oci.plan.mounts import set_options, shown
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import World
    from aisbx_runtime.oci.spec.mount_options import MountOptions


@record
class Remount:
    """Change the options of a mount. Flags that are not named stay as they are.

    `ro` is the mount's, never the file system's, which the host may use as well; with `bind`
    nothing of the file system is changed at all, as in mount(2).
    """

    target: str
    options: MountOptions
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"change the mount at {self.target}{shown(self.options)}"

    def apply(self, at: World) -> None:
        """Set flags and propagation, then the options of the file system. See fspick(2)."""
        fd = open_in_root(at.root_fd, self.target)
        try:
            set_options(fd, self.options, self.target)
            if not self.options.bind:
                self._reconfigure(fd)
        except KernelError as error:
            if error.syscall not in {"mount_setattr", "fspick"} or error.errno != errno.EINVAL:
                raise
            raise Failure(
                f"cannot remount {self.target}",
                why=why_of(error),
                hint="a remount needs an entry before it that mounts something there",
            ) from None
        finally:
            os.close(fd)

    def _reconfigure(self, fd: int) -> None:
        flags = [one for one in self.options.superblock if one != "ro"]
        if not flags and not self.options.data:
            return
        context_fd = mount.fspick(fd, path=self.target)
        try:
            for key in flags:
                mount.fsconfig_flag(context_fd, key)
            for key, value in self.options.data:
                if value is None:
                    mount.fsconfig_flag(context_fd, key)
                else:
                    mount.fsconfig_string(context_fd, key, value)
            mount.fsconfig_reconfigure(context_fd)
        finally:
            os.close(context_fd)
