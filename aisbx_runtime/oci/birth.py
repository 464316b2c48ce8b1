"""How container init is born: clone3, and the namespaces that must be joined before it.

Init is always the direct child of the runtime and in the runtime's own pid namespace level, so
that the engine's subreaper gets it (contract.md 5). What it does with its life lives in `init`.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, StepError, hint_of, kernel_error, why_of
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWPID, CLONE_NEWTIME, TYPES, setns, unshare
from aisbx_runtime.oci.kernel.path import write_once
from aisbx_runtime.oci.kernel.process import CLONE_PARENT, clone3
from aisbx_runtime.oci.kernel.signal import reap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.oci.channel import CreateSide, InitSide
    from aisbx_runtime.oci.plan.step import Birth, Step, World

# The cgroup namespace is made by init once it is in its cgroup (cgroup_namespaces(7)).
_MADE_BY_INIT = frozenset({"cgroup"})
# Exit statuses of the intermediate process.
_SAID_WHY = 1
_DIED = 2


def give_birth(birth: Birth, at: World, create: CreateSide, init: InitSide) -> int:
    """Fork container init; return 0 to it and its pid to the runtime, with at.pidfd set.

    Raises KernelError, or the Failure of the intermediate process.
    """
    if birth.intermediate:
        return by_intermediate(
            lambda: _enter_all(birth, at), _flags(birth), birth, at, create, init
        )
    own = _enter_for_children(birth, at)
    pid = -1
    try:
        pid, at.pidfd = clone3(_flags(birth), cgroup_fd=at.cgroup_fd)
    finally:
        for flag, fd in own:
            # Hooks, children of the runtime too, belong into its own namespaces. Init must not go
            # back: setns(2) refuses the pid namespace of an ancestor, and takes the time namespace.
            if pid != 0:
                setns(fd, flag)
            os.close(fd)
    at.pid = pid
    return pid


def _flags(birth: Birth) -> int:
    flags = 0
    for kind in birth.new:
        if kind == "ipc" and "user" in birth.new:
            # mq_overview(7): its root directory is its maker's, who is not mapped yet.
            continue
        if kind not in _MADE_BY_INIT and not (kind == "time" and birth.time_offsets):
            flags |= TYPES[kind][0]
    return flags


def _enter_for_children(birth: Birth, at: World) -> list[tuple[int, int]]:
    """Set what only children enter; return (flag, fd) of what is to be restored."""
    own: list[tuple[int, int]] = []
    if "pid" in birth.joins:
        own.append((CLONE_NEWPID, os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)))
        setns(at.namespace_fds["pid"], CLONE_NEWPID)
    if birth.time_offsets:
        own.append((CLONE_NEWTIME, os.open("/proc/self/ns/time", os.O_RDONLY | os.O_CLOEXEC)))
        _new_time_namespace(birth)
    return own


def _new_time_namespace(birth: Birth) -> None:
    # time_namespaces(7): offsets can be set only before the first process is in there.
    unshare(CLONE_NEWTIME)
    lines = [f"{clock} {secs} {nanosecs}\n" for clock, secs, nanosecs in birth.time_offsets]
    write_once("/proc/self/timens_offsets", "".join(lines))


def by_intermediate(
    enter: Callable[[], None],
    flags: int,
    step: Step,
    at: World,
    create: CreateSide,
    init: InitSide,
) -> int:
    """Enter namespaces in a process of its own, which makes init as its sibling and ends.

    The runtime itself must not join a user namespace: it would lose its rights for good. `enter`
    joins, `flags` are those of clone3 beside CLONE_PARENT, `step` says what failed.
    """
    middle, middle_fd = clone3()
    if middle == 0:
        pid = -1
        create.close()
        try:
            pid = _enter_and_clone(enter, flags, step, init)
        finally:
            # No error may get past here: create's undo would run in this copy of it.
            if pid:
                os._exit(0 if pid > 0 else _DIED)
        at.pid = 0
        return 0
    # What it says waits in the channel, whose other end is open here: only its end tells that
    # nothing will come.
    status = reap(middle_fd)
    os.close(middle_fd)
    if status not in {0, _SAID_WHY}:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise StepError(f"cannot {step.describe()}", where=step.origin, why=how)
    pid = int(str(create.expect("born")["pid"]))
    try:
        at.pidfd = os.pidfd_open(pid)
    except OSError:
        # It waits for us, and ends with the channel.
        create.close()
        os.waitpid(pid, 0)
        raise
    at.pid = pid
    if at.cgroup_fd >= 0:
        # Not CLONE_INTO_CGROUP: in a joined user namespace there is no right to the cgroup.
        _move_to_cgroup(at)
    return at.pid


def _enter_and_clone(enter: Callable[[], None], flags: int, step: Step, init: InitSide) -> int:
    """Be the intermediate process: return the pid of init, and 0 to init itself."""
    try:
        enter()
        pid, _ = clone3(flags | CLONE_PARENT)
        if pid:
            init.born(pid)
    except OSError as error:
        what = f"cannot {step.describe()}"
        failure = StepError(what, where=step.origin, why=why_of(error), hint=hint_of(error))
        init.failed(failure)
        os._exit(_SAID_WHY)
    return pid


def _enter_all(birth: Birth, at: World) -> None:
    join(list(birth.joins), at)
    if birth.time_offsets:
        _new_time_namespace(birth)


def _move_to_cgroup(at: World) -> None:
    try:
        fd = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=at.cgroup_fd)
        try:
            os.write(fd, str(at.pid).encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise kernel_error(error.errno or 0, "write", "cgroup.procs") from None


def join(kinds: list[str], at: World) -> None:
    """Join the opened namespaces `kinds`.

    As nsenter(1) does: what the outer user namespace owns before the user namespace, what the
    inner one owns after it. Raises KernelError.
    """
    late: list[str] = []
    for kind in kinds:
        if kind != "user":
            try:
                setns(at.namespace_fds[kind], TYPES[kind][0], path=kind)
            except KernelError as error:
                if error.errno != errno.EPERM or "user" not in kinds:
                    raise
                late.append(kind)
    if "user" in kinds:
        setns(at.namespace_fds["user"], TYPES["user"][0], path="user")
    for kind in late:
        setns(at.namespace_fds[kind], TYPES[kind][0], path=kind)
