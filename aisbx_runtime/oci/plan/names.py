"""hostname, domainname and sysctls: settings of the container's own namespaces.

Which sysctls are a container's own is checked in `spec.validate_linux`.
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import kernel_error
from aisbx_runtime.oci.kernel import uts
from aisbx_runtime.oci.kernel.path import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.sysctl import path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Spec


@record
class SetHostname:
    """Set the name of the container's UTS namespace."""

    name: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"set the hostname to {self.name}"

    def apply(self, at: World) -> None:
        """See sethostname(2)."""
        del at
        uts.set_hostname(self.name)


@record
class SetDomainname:
    """Set the NIS domain name of the container's UTS namespace."""

    name: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"set the domain name to {self.name}"

    def apply(self, at: World) -> None:
        """See setdomainname(2)."""
        del at
        uts.set_domainname(self.name)


@record
class SetSysctl:
    """Write one file below /proc/sys, through the runtime's own procfs."""

    name: str
    value: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"set {self.name} = {self.value}"

    def apply(self, at: World) -> None:
        """Write it; NO_XDEV and NO_MAGICLINKS keep the write in procfs (CVE-2025-52881)."""
        path = f"sys/{path_of(self.name)}"
        resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS
        fd = openat2(at.proc_fd, path, os.O_WRONLY, resolve=resolve)
        try:
            os.write(fd, self.value.encode())
        except OSError as error:
            raise kernel_error(error.errno or 0, "write", f"/proc/{path}") from None
        finally:
            os.close(fd)


def confine_steps(spec: Spec) -> list[Step]:
    """Return the steps in their order: names first, since a sysctl may set them too."""
    steps: list[Step] = []
    if spec.hostname:
        steps.append(SetHostname(spec.hostname, "hostname"))
    if spec.domainname:
        steps.append(SetDomainname(spec.domainname, "domainname"))
    steps.extend(
        [
            SetSysctl(name, value, f"linux.sysctl[{name!r}]")
            for name, value in spec.linux.sysctl.items()
        ]
    )
    return steps
