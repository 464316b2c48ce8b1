"""What create and exec share: carrying out phases, the fds of a new process, its pid file."""

from __future__ import annotations

import _signal
import _socket
import errno
import fcntl

from aisbx_runtime.oci import report, stub
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.channel import StubDied
from aisbx_runtime.oci.errors import Failure, StepError, hint_of, why_of
from aisbx_runtime.oci.kernel.process import CLOSE_RANGE_CLOEXEC, MAX_FD, close_range
from aisbx_runtime.oci.kernel.signal import reap
from aisbx_runtime.oci.lifecycle import start
from aisbx_runtime.oci.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.oci.channel import InitDied
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.plan.step import Plan, Step, World
    from aisbx_runtime.oci.spec.model import Process

_SIGSYS = 31
# More than the stub ever says.
_REPORT_BYTES = 32


def listen_fds() -> int:
    """Return how many sockets a service manager has passed to this very process.

    See sd_listen_fds(3): fds 3 and on, only when LISTEN_PID is ours. conmon and podman do not use
    this: they say --preserve-fds.
    """
    count = os.environment("LISTEN_FDS") or ""
    mine = os.environment("LISTEN_PID") == str(os.getpid())
    return int(count) if mine and count.isascii() and count.isdigit() and len(count) < 5 else 0


def with_listen_fds(process: Process, count: int) -> Process:
    """Return the process with the variables that tell it of passed sockets; it is pid 1 inside."""
    if not count:
        return process
    own = [one for one in process.env if not one.startswith(("LISTEN_FDS=", "LISTEN_PID="))]
    return replace(process, env=(*own, f"LISTEN_FDS={count}", "LISTEN_PID=1"))


def settle(preserve: int) -> tuple[int, ...]:
    """Take SIGCHLD back, and fill the gaps among the fds that are to be passed on.

    Before the first fd of our own, so that none of ours lies in the range that the process is to
    get (contract.md 10). Returns the fds that leaked in, marked as close-on-exec: `drop` them once
    the files that the caller names are read, which may be /dev/fd/N.
    """
    # signal(7): who inherits it ignored cannot wait for its children.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    first = 3 + preserve
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    # Without the fd of the listing, whose number our next one gets.
    leaked = tuple([fd for fd in listed if fd >= first and _is_open(fd)])
    close_range(first, MAX_FD, CLOSE_RANGE_CLOEXEC)
    for fd in range(first):
        if not _is_open(fd):
            # Closed: taken by a descriptor that disappears at execve, as if it were not there.
            null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            if null_fd != fd:
                os.dup2(null_fd, fd, inheritable=False)
                os.close(null_fd)
    return leaked


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def drop(leaked: tuple[int, ...]) -> None:
    """Close what leaked in from the caller: no child of ours is to hold or reach it.

    A leaked directory is a way out of the container (CVE-2024-21626), a leaked pipe keeps an
    engine waiting (contract.md 9).
    """
    for fd in leaked:
        os.close(fd)


def apply_phase(
    plan: Plan,
    name: str,
    at: World,
    call: Call,
    *,
    act: Callable[[Step], object] | None = None,
) -> None:
    """Apply the steps of a phase of the runtime's side, by `act` where the step cannot itself.

    Raises the Failure that names the step.
    """
    numbered = plan.numbered()
    for number, phase, step in numbered:
        if phase.name != name:
            continue
        report.debug(call.options, f"step {number} {name}: {step.describe()} <- {step.origin}")
        place = f"step {number} of {len(numbered)} {name}"
        try:
            if act is None:
                step.apply(at)
            else:
                act(step)
        except OSError as error:
            raise StepError(
                f"cannot {step.describe()}",
                where=f"{place}, {step.origin}",
                why=why_of(error),
                hint=hint_of(error),
            ) from None
        except Failure as failure:
            if not failure.where.startswith("step "):
                failure.where = f"{place}, {failure.where or step.origin}"
            raise


def stub_file() -> int:
    """Return a sealed memfd that holds the stub (CVE-2019-5736: no host file is executed)."""
    fd = os.memfd_create("aisbx-stub", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, stub.binary())
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def socket_pair() -> tuple[int, int]:
    """Return both ends of a stream socket, close-on-exec."""
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    return near.detach(), far.detach()


def fork_stub(at: World, fd: int) -> None:
    """Let a waiting stub fork; at.pid and at.pidfd become those of the new process.

    It is our child, and waits for `let_go`. Raises StepError, with at.pidfd -1 as none is left.
    """
    connection = _socket.socket(fileno=os.dup(fd))
    connection.send(start.GO)
    status = reap(at.pidfd)
    os.close(at.pidfd)
    at.pidfd = -1
    try:
        # Said before its end, if at all; the new process holds the other end and says nothing yet.
        said = connection.recv(_REPORT_BYTES, _socket.MSG_DONTWAIT).decode()
    except (BlockingIOError, ConnectionResetError):
        said = ""
    word, _, number = said.partition(" ")
    if word == "pid":
        at.pid = int(number)
        try:
            at.pidfd = os.pidfd_open(at.pid)
        except OSError:
            # It ends with the connection.
            connection.shutdown(_socket.SHUT_RDWR)
            os.waitpid(at.pid, 0)
            raise
        finally:
            connection.close()
        return
    connection.close()
    failed = f"{word}: {errno.errorcode.get(int(number), number)}" if said else ""
    raise StepError(
        "cannot start a process in the container's pid namespace",
        why=failed or (f"signal {-status}" if status < 0 else f"exit status {status}"),
        # pid_namespaces(7): there is none any more where the first process has ended.
        hint="the container has ended meanwhile" if failed == "clone: ENOMEM" else "",
    )


def let_go(fd: int, pid: int, lsm: str) -> None:
    """Tell a waiting stub to execute its program. Raises Failure when that cannot be executed.

    `lsm` confines it, or is empty.
    """
    connection = _socket.socket(fileno=fd)
    start.say_go(connection, pid, lsm)
    said = start.read_to_end(connection)
    connection.close()
    if said:
        raise start.failure_of(said, "process.args[0]")


def note_leftover(error: BaseException, path: str, second: OSError | Failure) -> None:
    """Add to the first error that undoing has failed too, which must not hide it."""
    why = second.line() if isinstance(second, Failure) else why_of(second)
    error.add_note(f"and could not remove {path}: {why}")


def temporary_of(path: str) -> str:
    """Return where a pid file is written before it is renamed into place."""
    directory, name = os.path.split(os.path.abspath(path))
    return f"{directory}/.{name}.{os.getpid()}"


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid as digits only, whole or not at all: BuildKit polls for the file."""
    temporary = temporary_of(path)
    try:
        _remove_what_is_left_of(temporary)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, str(pid).encode())
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        finally:
            os.close(fd)
    except OSError as error:
        raise Failure(f"cannot write the pid file {path}", why=why_of(error)) from None


def _remove_what_is_left_of(temporary: str) -> None:
    """Remove the temporary files of others for the same pid file that were killed over it."""
    directory, name = os.path.split(temporary)
    stem = name.rpartition(".")[0] + "."
    for other in os.listdir(directory):
        pid = other.removeprefix(stem)
        if other.startswith(stem) and pid.isdigit() and not os.path.isdir(f"/proc/{pid}"):
            try:
                os.unlink(f"{directory}/{other}")
            except FileNotFoundError:
                # Somebody else does the same.
                continue


def why_it_died(status: int, cgroups: tuple[str, ...], death: InitDied | None = None) -> Failure:
    """Return why a child ended before it was ready; `status` is minus the signal that killed it.

    `death` tells how it was noticed.
    """
    from aisbx_runtime.oci import cgroup

    if cgroup.oom_kills(cgroups):
        return Failure(
            "container init was killed for want of memory",
            where="linux.resources.memory.limit",
            hint="raise the memory limit",
        )
    if status == -_SIGSYS:
        return Failure(
            "container init was killed by its own seccomp filter",
            where="linux.seccomp",
            hint="set process.noNewPrivileges, so that the filter is installed last",
        )
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    if isinstance(death, StubDied):
        return Failure(
            "container init died as it was executed: process.rlimits may leave too little for that",
            why=how,
            hint="raise RLIMIT_AS, RLIMIT_STACK or RLIMIT_NOFILE",
        )
    return Failure("container init died before it was ready", why=how)
