"""The pidfd socket: where whoever calls the runtime receives a pidfd of the new process."""

from __future__ import annotations

import _socket

from aisbx_runtime.oci.errors import Failure, why_of

_FD_BYTES = 4
# What runc writes beside the fd.
CONTAINER, EXEC = "standard", "setns"


def send(path: str, pidfd: int, kind: str) -> None:
    """Connect, send one message with one fd, and wait for no reply. Raises Failure."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    rights = pidfd.to_bytes(_FD_BYTES, "little")
    try:
        socket.connect(path)
        socket.sendmsg([kind.encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    except OSError as error:
        raise Failure(
            f"cannot send a pidfd to the socket {path}",
            why=why_of(error),
            hint="listen on it before the runtime is called",
        ) from None
    finally:
        socket.close()
