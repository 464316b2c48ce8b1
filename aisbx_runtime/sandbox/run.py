"""Starting a sandbox on a cached image: the bundle, the runtime, the wait, the end.

C modules only, as in `start`: this is what a second start of an image executes.
"""

from __future__ import annotations

import _signal
import fcntl
import posix

from aisbx_runtime.sandbox import bundle
from aisbx_runtime.sandbox.errors import InputError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.bundle import Base
    from aisbx_runtime.sandbox.defaults import Json
    from aisbx_runtime.sandbox.options import Request
    from aisbx_runtime.sandbox.runtime import Runtime

_LONGEST_NAME = 64
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# siginfo_t.si_code of what the terminal sends: to our whole process group, the runtime included.
_SI_KERNEL = 128
# Not forwarded: faults of our own, and what stops a job: the runtime is stopped as we are.
_OWN = frozenset(
    {
        _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE,
        _signal.SIGILL, _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGURG,
        _signal.SIGPIPE,
    }
)  # fmt: skip
_ALL = frozenset(range(1, 32)) - _OWN
_ENOTEMPTY = 39
_EEXIST = 17


def start(store: str, runtime: Runtime, base: Base, request: Request) -> int:
    """Run a sandbox; return the exit code of its program, or 0 when it was left running.

    Raises SandboxError; nothing of it is left then.
    """
    sandbox_id = name_of(request.text("name"))
    path = f"{store}/containers/{sandbox_id}"
    keep = request.flag("keep") or request.flag("detach")
    config = bundle.config_of(base, request, path, sandbox_id, lasting=keep)
    facts = bundle.facts_of(base, sandbox_id, upper=f"{path}/upper", keep=keep)
    holder_fd = place(store, path, base, config, facts)
    # Kept until we end: whoever finds it free knows that nobody waits for this sandbox.
    del holder_fd
    if request.flag("detach"):
        return _leave_running(store, runtime, path, sandbox_id)
    code = wait_for(runtime, ["run", "--bundle", path, sandbox_id])
    if code < 0:
        # The runtime was killed, perhaps not its container.
        runtime.delete(sandbox_id)
        code = 128 - code
    if not keep:
        discard(store, path)
    return code


def name_of(given: str | None) -> str:
    """Return the name that was asked for, or one that nobody has. Raises InputError."""
    if given is None:
        return posix.urandom(6).hex()
    if (
        not 0 < len(given) <= _LONGEST_NAME
        or given[0] not in _LETTERS
        or any(letter not in _LETTERS and letter not in "_.-" for letter in given)
    ):
        raise InputError(
            f"{given!r} cannot be the name of a sandbox",
            hint=f"use up to {_LONGEST_NAME} letters, digits, dots, dashes and underscores",
        )
    return given


def place(store: str, path: str, base: Base, config: Json, facts: Json) -> int:
    """Make a bundle in the store, whole or not at all; return the fd that says who waits for it.

    Raises InputError where the name is taken, NotFoundError where the image was removed.
    """
    lock_fd = posix.open(f"{store}/lock", posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    try:
        # As Store.shared: until the bundle is in its place, nothing that it names is removed.
        fcntl.flock(lock_fd, fcntl.LOCK_SH)
        work = f"{store}/work/run.{posix.urandom(8).hex()}"
        posix.mkdir(work, 0o700)
        flags = posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC
        holder_fd = posix.open(f"{work}/lock", flags, 0o600)
        fcntl.flock(holder_fd, fcntl.LOCK_EX)
        try:
            bundle.fill(work, base, config, facts)
            posix.rename(work, path)
        except BaseException as error:
            _remove(work)
            posix.close(holder_fd)
            if isinstance(error, FileNotFoundError):
                raise NotFoundError(
                    "the image is being removed", where=base.reference, hint="pull it again"
                ) from error
            if isinstance(error, OSError) and error.errno in {_ENOTEMPTY, _EEXIST}:
                raise InputError(
                    "there is a sandbox of this name",
                    where=path,
                    hint="choose another --name, or `aisbx destroy` that one",
                ) from error
            raise
    finally:
        posix.close(lock_fd)
    return holder_fd


def wait_for(runtime: Runtime, words: list[str]) -> int:
    """Run the runtime in front; return its exit code, or the negative signal that killed it.

    Signals that somebody sends to us go on to it; nothing is lost, as all wait to be fetched.
    """
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ALL)
    pid = runtime.spawn(words, mask=mask)
    pidfd = posix.pidfd_open(pid)
    while True:
        signal = _signal.sigwaitinfo(_ALL)
        if signal.si_signo != _signal.SIGCHLD:
            if signal.si_code != _SI_KERNEL:
                _signal.pidfd_send_signal(pidfd, signal.si_signo)
            continue
        found, status = posix.waitpid(pid, posix.WNOHANG)
        if found == pid:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            posix.close(pidfd)
            return posix.waitstatus_to_exitcode(status)


def _leave_running(store: str, runtime: Runtime, path: str, sandbox_id: str) -> int:
    """Start the sandbox with its output in BUNDLE/log; nothing is left where that fails."""
    from aisbx_runtime.sandbox.runtime import failed

    null_fd = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)
    flags = posix.O_RDWR | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
    log_fd = posix.open(f"{path}/log", flags, 0o600)
    words = ["run", "--detach", "--bundle", path, sandbox_id]
    pid = runtime.spawn(words, files=((0, null_fd), (1, log_fd), (2, log_fd)))
    _, status = posix.waitpid(pid, 0)
    if status:
        said = posix.pread(log_fd, 4096, 0).decode(errors="backslashreplace")
        discard(store, path)
        raise failed(("run", sandbox_id), said)
    posix.close(null_fd)
    posix.close(log_fd)
    return 0


def discard(store: str, path: str) -> None:
    """Take a bundle out of its place now, and remove it when nobody waits any more.

    Removing a directory takes up to 4 ms on a disk; moving it takes 12 us. What a kill leaves is
    a workplace without holder.
    """
    gone = f"{store}/work/gone.{posix.urandom(8).hex()}"
    try:
        posix.rename(path, gone)
    except FileNotFoundError:
        # Somebody has destroyed it meanwhile.
        return
    if posix.fork() == 0:
        try:
            _become_nobodys()
            # Waits for our end, so as not to compete with it; and says that somebody is at it.
            lock_fd = posix.open(f"{gone}/lock", posix.O_RDWR | posix.O_CREAT, 0o600)
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            _remove(gone)
        finally:
            posix._exit(0)  # pyright: ignore[reportPrivateUsage]


def _become_nobodys() -> None:
    """Let go of the terminal, and of pipes that somebody reads to their end."""
    posix.setsid()
    null_fd = posix.open("/dev/null", posix.O_RDWR)
    for number in range(3):
        posix.dup2(null_fd, number)
    posix.closerange(3, 1 << 20)


def _remove(path: str) -> None:
    from aisbx_runtime.sandbox.store import remove_tree

    try:
        remove_tree(path)
    except OSError:
        # The next sweep has it; or had it before us.
        return
