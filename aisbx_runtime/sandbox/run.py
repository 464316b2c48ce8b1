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
    from collections.abc import Callable

    from aisbx_runtime.sandbox.bundle import Base
    from aisbx_runtime.sandbox.defaults import Json
    from aisbx_runtime.sandbox.options import Request
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.userns import Users

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


def start(
    store: str,
    runtime: Runtime,
    base: Base,
    request: Request,
    users: Users | None,
    *,
    refill: Callable[[str], None] | None = None,
    snapshot: str | None = None,
) -> int:
    """Run a sandbox; return the exit code of its program, or 0 when it was left running.

    users: of its user namespace, from `users_of`; closed here.
    refill: called with the bundle before it comes to its place: the files of `snapshot` go there.

    Raises SandboxError; nothing of it is left then.
    """
    sandbox_id = name_of(request.text("name"))
    path = f"{store}/containers/{sandbox_id}"
    keep = request.flag("keep") or request.flag("detach")
    try:
        config = bundle.config_of(base, request, path, sandbox_id, users, lasting=keep)
        facts = bundle.facts_of(base, sandbox_id, users, path=path, keep=keep)
        facts["snapshot"] = snapshot
        # Open until we end: whoever finds its lock free knows that nobody waits for this sandbox.
        facts_fd = place(store, path, base, config, facts, users, refill)
    finally:
        if users is not None:
            users.close()
    if request.flag("detach"):
        return _leave_running(store, runtime, path, sandbox_id)
    gone = f"{store}/work/gone.{posix.urandom(8).hex()}"

    def clean_up(pidfd: int) -> None:
        _end_with(store, path, gone, pidfd, runtime, sandbox_id)

    words = ["run", "--bundle", path, sandbox_id]
    code = wait_for(runtime, words, None if keep else clean_up)
    if code < 0:
        # The runtime was killed, perhaps not its container.
        runtime.delete(sandbox_id, path)
        code = 128 - code
    if not keep:
        discard(path, gone)
    posix.close(facts_fd)
    return code


def users_of(store: str, runtime: Runtime, request: Request) -> Users | None:
    """Return the ids of a sandbox's user namespace, which a plain user's always has."""
    if posix.geteuid() == 0 and request.text("userns") is None:
        return None
    from aisbx_runtime.sandbox import userns

    return userns.users_of(store, runtime, request.text("userns"))


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


def place(
    store: str,
    path: str,
    base: Base,
    config: Json,
    facts: Json,
    users: Users | None,
    refill: Callable[[str], None] | None = None,
) -> int:
    """Make a bundle in the store, whole or not at all; return the fd that says who waits for it.

    Raises InputError where the name is taken, NotFoundError where the image was removed.
    """
    if users is not None and not users.own and not users.lacks:
        from aisbx_runtime.sandbox.userns import let_through

        let_through(store)
    lock_fd = posix.open(f"{store}/lock", posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    try:
        # As Store.shared: until the bundle is in its place, nothing that it names is removed.
        fcntl.flock(lock_fd, fcntl.LOCK_SH)
        work = f"{store}/work/run.{posix.urandom(8).hex()}"
        posix.mkdir(work, 0o700)
        try:
            facts_fd = bundle.fill(work, base, config, facts, users)
            fcntl.flock(facts_fd, fcntl.LOCK_EX)
            if refill is not None:
                refill(work)
            posix.rename(work, path)
        except BaseException as error:
            _remove(work)
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
    return facts_fd


def wait_for(
    runtime: Runtime, words: list[str], meanwhile: Callable[[int], None] | None = None
) -> int:
    """Run the runtime in front; return its exit code, or the negative signal that killed it.

    Signals that somebody sends to us go on to it; nothing is lost, as all wait to be fetched.
    meanwhile: called with the runtime's pidfd when it has been started.
    """
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ALL)
    pid = runtime.spawn(words, mask=mask)
    pidfd = posix.pidfd_open(pid)
    if meanwhile is not None:
        meanwhile(pidfd)
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
        gone = f"{store}/work/gone.{posix.urandom(8).hex()}"
        discard(path, gone)
        _remove(gone)
        raise failed(("run", sandbox_id), said)
    posix.close(null_fd)
    posix.close(log_fd)
    return 0


def discard(path: str, gone: str) -> None:
    """Take a bundle out of its place, in one step: `gone` is in the store's work."""
    try:
        posix.rename(path, gone)
    except FileNotFoundError:
        # Somebody has destroyed it meanwhile.
        return


def _end_with(
    store: str, path: str, gone: str, pidfd: int, runtime: Runtime, sandbox_id: str
) -> None:
    """Fork a process that removes the bundle when we have ended, killed or not.

    Removing directories takes milliseconds on a disk: nobody is to wait for that. The fork itself
    costs nothing, as we are idle while the runtime starts.
    """
    if posix.fork():
        return
    try:
        import select

        _become_nobodys(pidfd)
        facts_fd = posix.open(f"{path}/{bundle.FACTS}", posix.O_RDWR)
        # A file description of its own: this waits for the end of our parent.
        fcntl.flock(facts_fd, fcntl.LOCK_EX)
        if not _is_same(f"{gone}/{bundle.FACTS}", facts_fd):
            # The parent was killed; the runtime may still wait for its container, or may not.
            select.select([pidfd], [], [])
            lock_fd = posix.open(f"{store}/lock", posix.O_RDWR | posix.O_CREAT, 0o600)
            # Nobody makes another sandbox of this name now.
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            if not _is_same(f"{path}/{bundle.FACTS}", facts_fd):
                return
            runtime.delete(sandbox_id, path)
            discard(path, gone)
            posix.close(lock_fd)
        _remove(gone)
    finally:
        posix._exit(0)  # pyright: ignore[reportPrivateUsage]


def _become_nobodys(kept_fd: int) -> None:
    """Let go of the terminal, and of pipes that somebody reads to their end."""
    posix.setsid()
    null_fd = posix.open("/dev/null", posix.O_RDWR)
    for number in range(3):
        posix.dup2(null_fd, number)
    posix.closerange(3, kept_fd)
    posix.closerange(kept_fd + 1, 1 << 20)


def _is_same(path: str, fd: int) -> bool:
    try:
        found = posix.stat(path)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (posix.fstat(fd).st_dev, posix.fstat(fd).st_ino)


def _remove(path: str) -> None:
    from aisbx_runtime.sandbox.store import remove_tree

    try:
        remove_tree(path)
    except OSError:
        # The next sweep has it; or had it before us.
        return
