"""Sockets by fd, where Python's own `socket` module would be too dear. See accept4(2)."""

from __future__ import annotations

from aisbx_runtime.oci.kernel.call import check, libc

SOCK_CLOEXEC = 0o2000000  # include/linux/net.h


def accept(listener_fd: int) -> int:
    """Wait for one connection; the fd is close-on-exec."""
    return check(libc.accept4(listener_fd, None, None, SOCK_CLOEXEC), "accept4")
