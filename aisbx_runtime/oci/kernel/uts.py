"""The names of a UTS namespace. See uts_namespaces(7)."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.kernel.call import check, libc


def set_hostname(name: str) -> None:
    """Set the host name. Raises KernelError EINVAL beyond 64 bytes. See sethostname(2)."""
    text = os.fsencode(name)
    check(libc.sethostname(text, len(text)), "sethostname", name)


def set_domainname(name: str) -> None:
    """Set the NIS domain name. Raises KernelError EINVAL beyond 64 bytes. See setdomainname(2)."""
    text = os.fsencode(name)
    check(libc.setdomainname(text, len(text)), "setdomainname", name)
