"""Terminals on the caller's side: the console socket, and relaying one to the user's own terminal.

The pty itself is opened inside the container, see `plan.terminal`.
"""

from __future__ import annotations

import _signal
import _socket
import select

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, why_of
from aisbx_runtime.oci.kernel import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_CHUNK_BYTES = 65536
_FD_BYTES = 4


def check(*, wanted: bool, console_socket: str) -> None:
    """Refuse a terminal without a place to send it to, and the other way round."""
    if wanted and not console_socket:
        raise Failure(
            "process.terminal is true, and there is no console socket",
            hint="pass --console-socket, or set process.terminal to false",
        )
    if console_socket and not wanted:
        raise Failure(
            "there is a console socket, and process.terminal is false",
            hint="leave --console-socket away, or set process.terminal to true",
        )


def connect(path: str) -> int:
    """Return a connection to the console socket. Raises Failure."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        socket.connect(path)
    except OSError as error:
        socket.close()
        raise Failure(
            f"cannot connect to the console socket {path}",
            why=f"connect: {why_of(error)}",
            hint="listen on it before the runtime is called",
        ) from None
    return socket.detach()


def send(connection_fd: int, master_fd: int, name: str) -> None:
    """Send a terminal: one message of 1 to 4095 bytes with one fd; no reply is waited for.

    The shim and buildah only accept when create has returned (contract.md 14).
    """
    socket = _socket.socket(fileno=os.dup(connection_fd))
    rights = master_fd.to_bytes(_FD_BYTES, "little")
    socket.sendmsg([name.encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    socket.close()


class Relay:
    """The user's terminal, connected to the one in the container while a verb is in front."""

    def __init__(self) -> None:
        """Make the pair that stands in for a console socket; `fd` is the end to send on."""
        self._near, far = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC
        )
        self.fd = far.detach()
        self._master_fd = -1
        self._saved: list[int | list[bytes | int]] | None = None

    def receive(self) -> None:
        """Take the terminal that container init has sent, and give it the user's size."""
        _, ancillary, _, _ = self._near.recvmsg(4096, _socket.CMSG_SPACE(_FD_BYTES))
        if not ancillary:
            raise Failure("the container did not send its terminal")
        self._master_fd = int.from_bytes(ancillary[0][2][:_FD_BYTES], "little")
        os.set_inheritable(self._master_fd, False)  # noqa: FBT003
        import termios

        # As runc and conmon: a line ends in one newline, the user's own terminal adds the rest.
        attributes = termios.tcgetattr(self._master_fd)
        attributes[1] &= ~termios.ONLCR
        termios.tcsetattr(self._master_fd, termios.TCSANOW, attributes)
        self._resize()

    def _resize(self) -> None:
        if os.isatty(0):
            terminal.copy_size(0, self._master_fd)

    def start(self) -> None:
        """Put the user's terminal into raw mode: keys are the container's to interpret."""
        if not os.isatty(0):
            return
        import termios

        self._saved = termios.tcgetattr(0)
        raw = termios.tcgetattr(0)
        raw[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
        raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
        termios.tcsetattr(0, termios.TCSANOW, raw)
        _signal.signal(_signal.SIGWINCH, self._on_resize)

    def _on_resize(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._resize()

    def stop(self) -> None:
        """Give the user's terminal back as it was."""
        if self._saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)

    def run(self, pidfd: int) -> None:
        """Copy both ways until the process behind `pidfd` has ended and all it said is out."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self._master_fd, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        ended = False
        while True:
            events = dict(poll.poll(0 if ended else None))
            if 0 in events and not _copy(0, self._master_fd):
                poll.unregister(0)
            if self._master_fd in events and not _copy(self._master_fd, 1):
                # ioctl_tty(2): EIO when the last process that had it open has closed it.
                poll.unregister(self._master_fd)
            elif ended and self._master_fd not in events:
                return
            if pidfd in events:
                poll.unregister(pidfd)
                ended = True


def _copy(source_fd: int, target_fd: int) -> bool:
    try:
        chunk = os.read(source_fd, _CHUNK_BYTES)
        while chunk:
            chunk = chunk[os.write(target_fd, chunk) :]
            if not chunk:
                return True
    except OSError:
        return False
    return False
