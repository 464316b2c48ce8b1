"""Running one hook: state on stdin, its own environment, time-out. When each runs lives in `plan`.

See config.md, "POSIX-platform Hooks". Works in container init too, where nothing may be imported.
"""

from __future__ import annotations

import _signal
import errno
import select
import time

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HookError
from aisbx_runtime.oci.kernel.process import CLOSE_RANGE_CLOEXEC, MAX_FD, clone3, close_range
from aisbx_runtime.oci.kernel.signal import SIGKILL, reap, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.oci.spec.model import Hook

_FAILED = "error running hook"  # runc's words
_SIGNALS = 64
_STDERR_BYTES = 4096
# pipe(7): what a hook may leave in its pipe when it ends.
_PIPE_BYTES = 65536


def run(
    kind: str,
    hook: Hook,
    state: bytes,
    bundle: str | None,
    confine: Callable[[], object] | None = None,
) -> None:
    """Run one hook to its end with `state` on its stdin, in the directory `bundle` if given.

    `confine` is the last that its process calls before the hook's program.
    The environment is exactly the hook's: never the caller's, and never that of an image
    (CVE-2025-23266). Raises HookError when it cannot start, exits not with 0, or takes too long.
    """
    state_read, state_write = os.pipe2(os.O_CLOEXEC)
    said_read, said_write = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = clone3()
    if pid == 0:
        _become(hook, state_read, said_write, bundle, confine)
    os.close(state_read)
    os.close(said_write)
    deadline = None if hook.timeout is None else time.monotonic() + hook.timeout
    try:
        said = _converse(state_write, said_read, state, pidfd, deadline)
        status = reap(pidfd)
    except BaseException:
        send_signal(pidfd, SIGKILL)
        reap(pidfd)
        raise
    finally:
        os.close(said_read)
        os.close(pidfd)
    if said is None:
        raise HookError(
            f"{_FAILED}: {kind} {hook.path} took longer than its timeout of {hook.timeout} s",
            hint="raise hooks[].timeout, or see what the hook waits for",
        )
    if status:
        raise HookError(f"{_FAILED}: {kind} {hook.path}", why=_why(status, said))


def _become(
    hook: Hook,
    state_fd: int,
    said_fd: int,
    bundle: str | None,
    confine: Callable[[], object] | None,
) -> None:
    # The child: nothing here may import, or leave by another way than execve or _exit.
    try:
        os.dup2(state_fd, 0)
        os.dup2(said_fd, 1)
        os.dup2(said_fd, 2)
        # --preserve-fds is for the process of the container.
        close_range(3, MAX_FD, CLOSE_RANGE_CLOEXEC)
        reset_signals()
        if bundle is not None:
            os.chdir(bundle)
        env = {name: value for name, _, value in [one.partition("=") for one in hook.env]}
        args = list(hook.args) or [hook.path]
        if confine is not None:
            confine()
        os.execve(hook.path, args, env)
    except OSError as error:
        os.write(2, f"execve: {errno.errorcode.get(error.errno or 0, '')}".encode())
    except ValueError as error:
        # A variable without a name.
        os.write(2, f"execve: {error}".encode())
    finally:
        os._exit(127)


def reset_signals() -> None:
    """Give a child that becomes another program every signal's default, and none blocked."""
    # conmon leaves SIGPIPE ignored, nohup SIGHUP, CPython SIGPIPE and SIGXFSZ.
    for number in range(1, _SIGNALS + 1):
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            # SIGKILL, SIGSTOP and the two that glibc keeps for itself.
            continue
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _converse(
    state_fd: int, said_fd: int, state: bytes, pidfd: int, deadline: float | None
) -> bytes | None:
    """Write the state, collect what the hook says, until it ends; None: it took too long."""
    poll = select.poll()
    poll.register(state_fd, select.POLLOUT)
    poll.register(said_fd, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    said = b""
    rest = state
    os.set_blocking(said_fd, False)
    os.set_blocking(state_fd, False)
    while True:
        left = None if deadline is None else (deadline - time.monotonic()) * 1000
        events = dict(poll.poll(None if left is None else max(left, 0)))
        if not events:
            send_signal(pidfd, SIGKILL)
            if rest:
                os.close(state_fd)
            reap_quietly(pidfd)
            return None
        if state_fd in events and rest:
            rest = _feed(state_fd, rest)
            if not rest:
                poll.unregister(state_fd)
                os.close(state_fd)
        if said_fd in events:
            said = (said + _read(said_fd))[-_STDERR_BYTES:]
            if events[said_fd] & select.POLLHUP:
                poll.unregister(said_fd)
        if pidfd in events:
            if rest:
                os.close(state_fd)
            return (said + _read(said_fd))[-_STDERR_BYTES:]


def reap_quietly(pidfd: int) -> None:
    """Wait for a child whose status says nothing new. It may be reaped once more by `reap`."""
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)


def _feed(fd: int, data: bytes) -> bytes:
    try:
        return data[os.write(fd, data) :]
    except BrokenPipeError:
        # A hook need not read its state.
        return b""


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _PIPE_BYTES)
    except BlockingIOError:
        return b""


def _why(status: int, said: bytes) -> str:
    if status > 0:
        how = f"exit status {status}"
    else:
        # As Go names them: `signal: bad system call` is what people look for.
        how = f"signal {-status}: {(_signal.strsignal(-status) or '').lower()}"
    lines = said.decode(errors="replace").strip().splitlines()
    return f"{how}: {lines[-1]}" if lines else how
