"""AppArmor and SELinux: the label that the program gets when it is executed.

It is written by the stub, just before (stub.c says why); here it is checked beforehand, so that an
unknown one already fails in create.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, SpecError, StepError, kernel_error, why_of
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
# proc_pid_attr(5): the directory of one LSM where several are stacked, else that of the only one.
DIRECTORIES = {"apparmor": ("attr/apparmor", "attr"), "selinux": ("attr",)}
_ORIGINS = {"apparmor": "process.apparmorProfile", "selinux": "process.selinuxLabel"}


@record
class CheckLabel:
    """Ask the LSM whether the program may have a label."""

    lsm: str
    label: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"check that {self.lsm} can confine the program with {self.label}"

    def apply(self, at: World) -> None:
        """Write it through the runtime's own procfs, and take it back: the stub is not confined."""
        if self.lsm == "apparmor":
            # aa_change_profile(2), security/apparmor/lsm.c: the question, not the change.
            self._write(at.proc_fd, "current", f"permprofile {self.label}")
            return
        self._write(at.proc_fd, "exec", self.label)
        self._write(at.proc_fd, "exec", "\n")

    def _write(self, proc_fd: int, name: str, text: str) -> None:
        fd, path = self._open(proc_fd, name)
        try:
            os.write(fd, text.encode())
        except OSError as error:
            why = why_of(kernel_error(error.errno or 0, "write", f"/proc/self/{path}"))
            hint = {
                errno.ENOENT: "load the profile: apparmor_parser --replace FILE",
                errno.EINVAL: "the policy that is loaded has no such label",
            }.get(error.errno or 0, "")
            what = f"{self.lsm} cannot confine the program with {self.label}"
            raise StepError(what, where=self.origin, why=why, hint=hint) from None
        finally:
            os.close(fd)

    def _open(self, proc_fd: int, name: str) -> tuple[int, str]:
        refused: KernelError | None = None
        for directory in DIRECTORIES[self.lsm]:
            path = f"{directory}/{name}"
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


def of(process: Process) -> tuple[str, str]:
    """Return the LSM that is to confine the process and its label; both are empty for none.

    Raises SpecError when two are asked for: the kernel executes one of them only.
    """
    apparmor = process.apparmor_profile
    if apparmor == "unconfined":
        apparmor = ""
    if apparmor and process.selinux_label:
        raise SpecError(
            "process: apparmorProfile and selinuxLabel exclude each other",
            hint="leave the label empty whose LSM the host does not have",
        )
    if apparmor:
        return "apparmor", apparmor
    return ("selinux", process.selinux_label) if process.selinux_label else ("", "")


def words_for_kernel(process: Process) -> str:
    """Return what the stub writes to `exec`. See proc_pid_attr(5), apparmor's aa_change_onexec."""
    lsm, label = of(process)
    return f"exec {label}" if lsm == "apparmor" else label


def steps(process: Process) -> list[Step]:
    """Return the check of the label, where the process asks for one."""
    lsm, label = of(process)
    return [CheckLabel(lsm, label, _ORIGINS[lsm])] if lsm else []
