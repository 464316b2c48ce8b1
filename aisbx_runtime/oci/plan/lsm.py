"""AppArmor and SELinux: the label that the process gets when it is executed."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, SpecError, kernel_error
from aisbx_runtime.oci.kernel.path import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Process

_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS
# proc_pid_attr(5): the files of one LSM where several are stacked, else those of the only one.
_FILES = {"apparmor": ("attr/apparmor/exec", "attr/exec"), "selinux": ("attr/exec",)}


@record
class SetExecLabel:
    """Ask the LSM for a label from the next execve on."""

    lsm: str
    label: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"confine with {self.lsm}: {self.label}"

    def apply(self, at: World) -> None:
        """Write it through the runtime's own procfs: the container's may be a trap."""
        fd, path = self._open(at.proc_fd)
        text = f"exec {self.label}" if self.lsm == "apparmor" else self.label
        try:
            os.write(fd, text.encode())
        except OSError as error:
            raise kernel_error(error.errno or 0, "write", f"/proc/self/{path}") from None
        finally:
            os.close(fd)

    def _open(self, proc_fd: int) -> tuple[int, str]:
        refused: KernelError | None = None
        for path in _FILES[self.lsm]:
            try:
                return openat2(proc_fd, f"self/{path}", os.O_WRONLY, resolve=_RESOLVE), path
            except KernelError as error:
                refused = error
        raise SpecError(
            f"{self.origin}: {self.lsm} is not enabled on this host",
            why="" if refused is None else f"{refused.syscall}",
            where="config.json",
            hint="leave the label empty, or boot with this LSM enabled",
        )


def steps(process: Process) -> list[Step]:
    """Return the label of the process, where it asks for one."""
    found: list[Step] = []
    if process.apparmor_profile and process.apparmor_profile != "unconfined":
        origin = "process.apparmorProfile"
        found.append(SetExecLabel("apparmor", process.apparmor_profile, origin))
    if process.selinux_label:
        found.append(SetExecLabel("selinux", process.selinux_label, "process.selinuxLabel"))
    return found
