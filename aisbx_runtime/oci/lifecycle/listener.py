"""The seccomp listener: from container init to the path in config.json that listens.

Why container init installs such a filter, and not the stub: docs/decisions/0004.
"""

from __future__ import annotations

import _socket

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, why_of
from aisbx_runtime.oci.lifecycle.version import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.channel import CreateSide
    from aisbx_runtime.oci.plan.step import World
    from aisbx_runtime.oci.spec.model import Spec

FD_NAME = "seccompFd"  # config-linux.md, seccomp: seccompFdName


def forward(create_side: CreateSide, at: World, spec: Spec, state: dict[str, object]) -> None:
    """Wait for the listener of container init and send it on. Raises Failure."""
    seccomp = spec.linux.seccomp
    assert seccomp is not None  # noqa: S101  (without it nobody connects)
    fd = create_side.take_fd()
    # config-linux.md, seccomp: ContainerProcessState. One of them, then the connection is closed.
    process_state: dict[str, object] = {
        "ociVersion": SPEC_VERSION,
        "fds": [FD_NAME],
        "pid": at.pid,
        "metadata": seccomp.listener_metadata,
        "state": state,
    }
    socket = _socket.socket(fileno=at.listener_socket_fd)
    at.listener_socket_fd = -1
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))]
    text = jsontext.dump(process_state).encode()
    try:
        sent = socket.sendmsg([text], rights)
        # Never empty: whoever listens may have taken the message and hung up.
        if text[sent:]:
            socket.sendall(text[sent:])
    except OSError as error:
        raise Failure(
            "cannot send the seccomp listener",
            where="linux.seccomp.listenerPath",
            why=f"sendmsg: {why_of(error)}",
            hint="see what ended at the other end of the socket",
        ) from None
    finally:
        socket.close()
        os.close(fd)
