"""One `criu swrk`: its birth, the conversation with it, its end.

`criu swrk FD` serves one connection, and what it restores becomes our child. It is asked by
the messages of `messages`; what is asked for is put together in `lifecycle`.
"""

from __future__ import annotations

import _socket

from aisbx_runtime.oci import channel
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.channel import InitDied
from aisbx_runtime.oci.criu import messages
from aisbx_runtime.oci.criu.program import search_path
from aisbx_runtime.oci.errors import Failure, StepError, hint_of, why_of
from aisbx_runtime.oci.hooks import reset_signals
from aisbx_runtime.oci.kernel.process import CLOSE_RANGE_CLOEXEC, MAX_FD, clone3, close_range
from aisbx_runtime.oci.kernel.signal import SIGKILL, reap, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from aisbx_runtime.oci.channel import InitSide
    from aisbx_runtime.oci.criu.messages import Answer
    from aisbx_runtime.oci.plan.step import Step, World

_FIRST_FD = 3
# The longest answer quotes a line of criu's log.
_ANSWER_BYTES = 1 << 17
_FD_BYTES = 4


class Session:
    """A criu that waits for one request. `pid` is its own; `close` ends and reaps it."""

    def __init__(
        self,
        program: str,
        at: World,
        *,
        steps: tuple[Step, ...] = (),
        directories: tuple[tuple[int, str], ...] = (),
        fds: tuple[int, ...] = (),
    ) -> None:
        """Fork the process that becomes criu once `go` is said, in at.cgroup_fd if that is open.

        It then applies `steps`, and keeps `fds`. Of `directories`, fds of ours that it is to use,
        it opens its own by their paths: what it mounts below must be in its mount namespace.
        """
        self._socket: _socket.socket | None = None
        self._gate, child_side = channel.pair()
        self.pid, self._pidfd = clone3(cgroup_fd=at.cgroup_fd)
        if self.pid == 0:
            self._gate.close()
            _become(program, at, steps, directories, fds, child_side)
        child_side.close()

    def go(self) -> None:
        """Let it become criu, and return when it is. Raises the Failure of a step."""
        try:
            self._gate.go()
            self._socket = _socket.socket(fileno=self._gate.take_fd())
            self._gate.wait_for_end()
        except InitDied:
            raise Failure("the process that was to become criu died", hint="see dmesg") from None
        finally:
            self._gate.close()

    def ask(self, request: bytes, notify: Callable[[Answer, int], None]) -> Answer | None:
        """Return criu's answer to a request, None when it ends without one.

        `notify` is told what criu does meanwhile, with an fd that came along or -1, which it
        closes. What it raises makes criu give up, and is raised when criu has.
        """
        failed: BaseException | None = None
        assert self._socket is not None  # noqa: S101  (after go)
        try:
            self._socket.send(request)
            while (answer := _receive(self._socket)) is not None:
                said, fd = answer
                if said.kind != messages.NOTIFY:
                    break
                try:
                    notify(said, fd)
                except (OSError, Failure) as error:
                    failed = failed or error
                self._socket.send(messages.notified(success=failed is None))
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        if failed is not None:
            raise failed
        return None if answer is None else answer[0]

    def close(self) -> int:
        """End it; return its exit status, or minus the signal that ended it.

        It ends by itself when it has answered and the connection is closed.
        """
        if self._socket is not None:
            self._socket.close()
        status = reap(self._pidfd)
        os.close(self._pidfd)
        return status

    def kill(self) -> None:
        """Kill it, where it must not go on: what it holds still is let go by the kernel."""
        send_signal(self._pidfd, SIGKILL)


def _receive(socket: _socket.socket) -> tuple[Answer, int] | None:
    packet, control, _, _ = socket.recvmsg(
        _ANSWER_BYTES, _socket.CMSG_SPACE(_FD_BYTES), _socket.MSG_CMSG_CLOEXEC
    )
    if not packet:
        return None
    fd = int.from_bytes(control[0][2][:_FD_BYTES], "little") if control else -1
    try:
        return messages.answer_of(packet), fd
    except ValueError as error:
        raise Failure("cannot read criu's answer", why=str(error)) from None


def _become(
    program: str,
    at: World,
    steps: tuple[Step, ...],
    directories: tuple[tuple[int, str], ...],
    fds: tuple[int, ...],
    gate: InitSide,
) -> NoReturn:
    # The child: it must leave by execve or _exit.
    step: Step | None = None
    try:
        gate.wait_for_go()
        for step in steps:
            step.apply(at)
        step = None
        for fd, path in directories:
            own_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            os.dup2(own_fd, fd)
            os.close(own_fd)
        # Made here: criu looks for the fds of directories in whoever made the connection.
        far, near = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
        )
        gate.hand_over(far.fileno())
        close_range(_FIRST_FD, MAX_FD, CLOSE_RANGE_CLOEXEC)
        for fd in (near.fileno(), *fds, *[one[0] for one in directories]):
            os.set_inheritable(fd, True)  # noqa: FBT003
        reset_signals()
        os.execve(program, ["criu", "swrk", str(near.fileno())], {"PATH": search_path()})
    except BaseException as error:  # noqa: BLE001  (nothing may leave this child)
        gate.failed(_failure(step, program, error))
    finally:
        os._exit(1)


def _failure(step: Step | None, program: str, error: BaseException) -> Failure:
    if isinstance(error, Failure):
        error.where = error.where or (step.origin if step is not None else "")
        return error
    why, hint = f"{type(error).__name__}: {error}", "this is a defect of the runtime: report it"
    if isinstance(error, OSError):
        why, hint = why_of(error), hint_of(error)
    doing = step.describe() if step is not None else f"start {program}"
    return StepError(
        f"cannot {doing}", where=step.origin if step is not None else "", why=why, hint=hint
    )
