"""Container init: the child, from its birth until it becomes the stub.

The only place that catches its errors. From the first line on nothing is imported: what a hostile
rootfs holds under Python's paths is never looked at (security.md 2.3).
"""

from __future__ import annotations

import fcntl
import sys

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, StepError, hint_of, why_of
from aisbx_runtime.oci.kernel.filter import NEW_LISTENER, install_filter
from aisbx_runtime.oci.kernel.process import (
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    execveat,
    prctl,
)
from aisbx_runtime.oci.kernel.signal import SIGKILL
from aisbx_runtime.oci.kernel.socket import accept
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from aisbx_runtime.oci.channel import InitSide
    from aisbx_runtime.oci.plan.step import Phase, Step, World
    from aisbx_runtime.oci.spec.model import Hook, Process

_MAGIC = b"aisbx-stub"
# The stub's first number: how it is told to start the program.
WAIT_FOR_CONNECTION = 0
CONNECTED = 1
FORKS = 3
FORKS_WITH_TERMINAL = 7
LABELLED = 8  # beside one of the others


@record
class Job:
    """What container init is to do, ready before it is born: a fork needs no message."""

    steps: tuple[tuple[int, Phase, Step], ...]
    total: int
    process: Process
    prepares: bool
    start_fd: int
    start_kind: int
    start_hooks: tuple[Hook, ...]
    stub_fd: int
    label: str
    filter_flags: int
    keep_fds: int


def main(job: Job, at: World, channel: InitSide) -> NoReturn:
    """Carry out the steps, then become the stub. Any failure is sent to create."""
    place: tuple[int, Phase, Step] | None = None
    connection_fd = -1
    try:
        _settle()
        channel.wait_for_go()
        if at.listener_socket_fd >= 0:
            # It must end with create's message, and that is not ours to wait for.
            os.close(at.listener_socket_fd)
        prctl(PR_SET_DUMPABLE, 0)
        phase = ""
        for place in job.steps:
            if phase == "rootfs" and place[1].name != phase and job.prepares:
                channel.prepared()
            phase = place[1].name
            place[2].apply(at)
            if at.listener_fd >= 0:
                # The first call after the filter: whoever listens may have to answer all others.
                channel.hand_over(at.listener_fd)
                at.listener_fd = -1
            # prctl(2): a change of ids has cleared it.
            prctl(PR_SET_PDEATHSIG, SIGKILL)
        place = None
        # Until here whoever kills create takes us along; from here on the container is whole.
        prctl(PR_SET_PDEATHSIG, 0)
        channel.ready()
        start_fd, kind = job.start_fd, job.start_kind
        if job.start_hooks:
            connection_fd = accept(job.start_fd)
            _run_start_hooks(job, at)
            start_fd, kind = connection_fd, kind | CONNECTED
        # After startContainer hooks create has gone.
        told_fd = -1 if job.start_hooks else channel.fileno()
        _become_stub(job, at, start_fd, kind, told_fd)
    except BaseException as error:  # noqa: BLE001  (the one place)
        failure = _failure(error, job, place)
        if connection_fd >= 0:
            # Create has gone: it is `start` that waits, and takes a mere end for success. Its byte
            # must be read: closing with it unread is a reset to the other end (unix(7)).
            os.read(connection_fd, 1)
            os.write(connection_fd, f"hook {failure.line()}".encode())
        channel.failed(failure)
    finally:
        os._exit(1)


def _settle() -> None:
    """Leave the caller's session, signals and import system behind."""
    # No half-made container outlives a killed create; the flag is cleared before `ready`.
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    sys.meta_path.clear()
    sys.path.clear()
    sys.path_hooks.clear()
    # Signals are the stub's to reset, and hooks reset their own. Modes are given in full here;
    # the process's own umask comes with its user.
    os.umask(0)
    try:
        os.setsid()
    except PermissionError:
        # Already a leader: pid 1 of a new pid namespace can be one.
        return


def _run_start_hooks(job: Job, at: World) -> None:
    def confine() -> None:
        # As under runc: what an image holds runs under the container's filter, these hooks too.
        # What is left to us, waiting for them, need not be allowed by it.
        install_filter(at.filter_program, job.filter_flags)

    try:
        at.run_hooks(
            "startContainer", job.start_hooks, confine if _filter_is_left(job, at) else None
        )
    except OSError as error:
        raise StepError("cannot run the startContainer hooks", why=why_of(error)) from None


def _become_stub(job: Job, at: World, start_fd: int, kind: int, told_fd: int) -> None:
    # The stub holds no host file: /proc/self/exe of what enters the container is a sealed memfd
    # (CVE-2019-5736), and the interpreter's memory is gone with the execve.
    filter_fd = at.filter_fd if _filter_is_left(job, at) else -1
    for fd in (start_fd, filter_fd, told_fd):
        if fd >= 0:
            # Not ioctl(2), as os.set_inheritable: the container's filter may refuse it already.
            fcntl.fcntl(fd, fcntl.F_SETFD, 0)
    numbers = (*(kind, start_fd, filter_fd, job.filter_flags, job.keep_fds, at.carried, told_fd),)
    args = [
        _MAGIC,
        ",".join(map(str, numbers)).encode(),
        os.fsencode(at.program),
        job.label.encode(),
        *[os.fsencode(arg) for arg in job.process.args],
    ]
    # The last one of a name counts, as in every peer: of two getenv(3) would find the first.
    variables = {entry.partition("=")[0]: entry for entry in job.process.env}
    if at.home:
        variables["HOME"] = f"HOME={at.home}"
    env = [os.fsencode(entry) for entry in variables.values()]
    execveat(job.stub_fd, args, env)


def _filter_is_left(job: Job, at: World) -> bool:
    """Tell whether the filter is still to be installed, by the stub."""
    # Who listens has to hear of the calls that the stub would make first: that filter is on.
    listens = bool(job.filter_flags & NEW_LISTENER)
    return at.filter_fd >= 0 and job.process.no_new_privileges and not listens


def _failure(error: BaseException, job: Job, place: tuple[int, Phase, Step] | None) -> Failure:
    if place is None:
        where, doing = "", "become the stub"
    else:
        number, phase, step = place
        doing = step.describe()
        origin = (error.where if isinstance(error, Failure) else "") or step.origin
        where = f"step {number} of {job.total} {phase.name}, {origin}"
    if isinstance(error, Failure):
        error.where = where or error.where
        return error
    if isinstance(error, OSError):
        why, hint = why_of(error), hint_of(error)
    else:
        why, hint = f"{type(error).__name__}: {error}", "this is a defect of the runtime: report it"
    return StepError(f"cannot {doing}", where=where, why=why, hint=hint)
