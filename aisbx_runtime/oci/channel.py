"""The channel between create and container init.

One JSON object per packet of a SEQPACKET socket pair. Nothing in the code may contradict this:

| create (host)                            | container init                                    |
| ---------------------------------------- | ------------------------------------------------- |
| clone3 ->                                | born in its namespaces and cgroup                 |
|                                          | <- born {pid}, only from an intermediate process  |
| adopt steps; -> go                       | waits                                             |
|                                          | rootfs steps                                      |
| join steps meanwhile                     | <- prepared                                       |
| runs prestart, createRuntime; -> go      | waits                                             |
|                                          | createContainer hooks; pivot; confine; process    |
| sends it to who listens, if there is one | <- listener, and its fd                           |
| waits for the stub                       | <- ready                                          |
| the stub waits; limits; facts            | <- stub: the stub itself, when it runs            |
| reports it; undo; exits 1                | <- failed {what, where, why, hint}, at any time   |
| "init died": status, OOM count           | (end without `ready`)                             |
"""

from __future__ import annotations

import _socket

from aisbx_runtime.oci import errors, jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.jsontext import is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.errors import Failure

_PACKET_BYTES = 1 << 17
# From the end of its channel to the end of a process that dies.
_DEATH_MS = 200
_FD_BYTES = 4  # of x86-64 and aarch64, both little-endian: an int


class InitDied(Exception):  # noqa: N818  (not an error yet: create finds out why)
    """The channel ended before container init was ready."""


class StubDied(InitDied):
    """The channel ended after container init was ready, and before the stub ran."""


class _Side:
    def __init__(self, socket: _socket.socket) -> None:
        self._socket = socket

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the fd of this end."""
        return self._socket.fileno()

    def _send(self, **message: object) -> None:
        self._socket.send(jsontext.dump(message).encode())

    def _receive(self) -> dict[str, object]:
        try:
            packet = self._socket.recv(_PACKET_BYTES)
        except ConnectionResetError:
            # The other side ended with something unread; what it had said is still to come.
            packet = self._socket.recv(_PACKET_BYTES)
        return _message_of(packet) if packet else {}


class CreateSide(_Side):
    """What create may say and hear."""

    def go(self) -> None:
        """Let container init go on. A dead one is noticed by the next `expect`."""
        try:
            self._send(type="go")
        except BrokenPipeError:
            return

    def expect(self, *types: str) -> dict[str, object]:
        """Return the next message, which must be of one of these types.

        Raises the Failure that init reports, and InitDied at the end of the channel.
        """
        message = self._receive()
        if not message:
            raise InitDied
        kind = _kind_of(message)
        if kind not in types:
            raise _out_of_turn(kind)
        return message

    def take_fd(self) -> int:
        """Return the fd that is handed over: the seccomp listener, or criu's connection.

        Raises the Failure that init reports, and InitDied at the end of the channel.
        """
        packet, control, _, _ = self._socket.recvmsg(
            _PACKET_BYTES, _socket.CMSG_SPACE(_FD_BYTES), _socket.MSG_CMSG_CLOEXEC
        )
        if not packet:
            raise InitDied
        kind = _kind_of(_message_of(packet))
        if kind != "listener" or not control:
            raise _out_of_turn(kind)
        return int.from_bytes(control[0][2], "little")

    def wait_for_stub(self, pidfd: int) -> None:
        """Return when init, whose `pidfd` it is, has become the stub and runs.

        Raises the Failure that it reports instead, and StubDied: its limits may leave too little to
        execute anything, which is fatal once the channel may be closed (execve(2), SIGKILL).
        """
        try:
            self.expect("stub")
        except InitDied:
            # The container's filter, when it is installed already, may refuse sendto(2).
            import select

            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if poll.poll(_DEATH_MS):
                raise StubDied from None

    def wait_for_end(self) -> None:
        """Return when the child has become another program. Raises the Failure that it reports."""
        message = self._receive()
        if message:
            raise errors.from_wire(_texts(message.get("failure")))


def _message_of(packet: bytes) -> dict[str, object]:
    """Return what was said; what is no object is as good as nothing."""
    try:
        return _texts(jsontext.parse(packet.decode()))
    except (ValueError, RecursionError):
        return {}


def _kind_of(message: dict[str, object]) -> str:
    """Return the type of a message. Raises the Failure that it reports."""
    kind = message.get("type")
    if kind == "failed":
        raise errors.from_wire(_texts(message.get("failure")))
    return kind if isinstance(kind, str) else ""


def _out_of_turn(kind: str) -> Failure:
    return errors.Failure(
        "container init did not keep to the protocol",
        why=f"it said {kind or 'nothing'}" if kind.isalpha() or not kind else "",
        hint="this is a defect of the runtime: report it with this line",
    )


def _texts(value: object) -> dict[str, object]:
    return value if is_object(value) else {}


class InitSide(_Side):
    """What container init, or the intermediate process before it, may say and hear."""

    def born(self, pid: int) -> None:
        """Tell the pid of container init, whose parent is create."""
        self._send(type="born", pid=pid)

    def wait_for_go(self) -> None:
        """Wait for create; without it there is nothing to live for."""
        if not self._receive():
            os._exit(1)

    def prepared(self) -> None:
        """Tell that the rootfs is there, and wait until create has done its part."""
        self._send(type="prepared")
        self.wait_for_go()

    def hand_over(self, fd: int) -> None:
        """Hand over an fd: with sendmsg(2), and no other call, which a listener would see."""
        control = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(_FD_BYTES, "little"))]
        self._socket.sendmsg([b'{"type":"listener"}'], control)

    def ready(self) -> None:
        """Tell that only the stub is left to come."""
        self._send(type="ready")

    def failed(self, failure: Failure) -> None:
        """Report why init ends. Nobody may be left to hear it."""
        try:
            self._send(type="failed", failure=errors.to_wire(failure))
        except OSError:
            return


def pair() -> tuple[CreateSide, InitSide]:
    """Return both ends; they are close-on-exec."""
    create, init = _socket.socketpair(
        _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    )
    return CreateSide(create), InitSide(init)
