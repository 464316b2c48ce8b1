"""exec: one more process in a container, with no more rights than it was given."""

from __future__ import annotations

from aisbx_runtime.oci import birth, channel, console, init, report
from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.channel import InitDied
from aisbx_runtime.oci.container import CREATED, PAUSED, RUNNING
from aisbx_runtime.oci.errors import Failure, StateError, hint_of, kernel_error, why_of
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWPID, TYPES, setns
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import SIGKILL, reap, reap_helper, send_signal
from aisbx_runtime.oci.lifecycle import attempt, exec_process, foreground
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.plan import (
    lsm,
    namespaces,
    process,
    refuse,
    rootfs,
    score,
    seccomp,
    stdio,
    terminal,
)
from aisbx_runtime.oci.plan.cgroup_steps import JoinCgroup
from aisbx_runtime.oci.plan.join import EnterContainer
from aisbx_runtime.oci.plan.step import INIT, RUNTIME, Phase, Plan, World
from aisbx_runtime.oci.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.channel import CreateSide, InitSide
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.console import Relay
    from aisbx_runtime.oci.container import Container, Facts
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step
    from aisbx_runtime.oci.spec.model import Process, Spec

# Far more than container init takes before it is the stub.
_HEAP_BYTES = 64 << 20
# runc's exit code for an exec that did not come to run, apart from those of programs.
NOT_STARTED = 255


class ExecWorld(World):
    """The world of exec: `pidfd` is that of container init until the new process is born."""

    def send_terminal(self, master_fd: int, name: str) -> None:
        """Send it to the console socket."""
        console.send(self.console_fd, master_fd, name)


def main(call: Call) -> int:
    """Run a process; return its exit code, or 0 when detached."""
    try:
        return _main(call)
    except Failure as failure:
        failure.exit_code = NOT_STARTED
        raise
    except OSError as error:
        raise Failure(
            "cannot exec", why=why_of(error), hint=hint_of(error), exit_code=NOT_STARTED
        ) from None


def _main(call: Call) -> int:
    values = call.values
    leaked = attempt.settle(values.number("preserve-fds"))
    container = containers.load(call.root(), values.words[0])
    facts = container.facts()
    init_fd = _check_status(container, facts, ignore_paused=values.flag("ignore-paused"))
    spec = bundles.parsed(container.read(containers.CONFIG))
    wanted = exec_process.process_of(values, spec)
    refuse.check_process(wanted)
    attempt.drop(leaked)
    detach = values.flag("detach")
    relay = _relay(wanted, values.text("console-socket"), detach=detach)

    at = ExecWorld(container.id, facts.text("bundle"))
    at.pidfd = init_fd
    at.root_fd = _open_root(facts.number("pid"))
    if values.text("console-socket"):
        at.console_fd = console.connect(values.text("console-socket"))
    elif relay is not None:
        at.console_fd = relay.fd
    plan = plan_of(call, spec, wanted, hosts.detect(), facts)
    # No fd of a directory of the host is in the child: /proc/PID/fd would lead out by it.
    container.close()
    _start(call, plan, spec, wanted, at)
    for warning in plan.warnings:
        report.warning(call.options, warning)
    if detach:
        return 0
    if relay is not None:
        relay.receive()
    return foreground.wait(at.pidfd, relay)


def _check_status(container: Container, facts: Facts, *, ignore_paused: bool) -> int:
    """Return a pidfd of init. Raises StateError where no process can be added."""
    status = containers.status_of(container, facts)
    allowed = {RUNNING, CREATED, PAUSED} if ignore_paused else {RUNNING, CREATED}
    if status not in allowed:
        raise StateError(
            f"cannot exec in a {status} container",
            hint="resume it first" if status == PAUSED else "start it first",
        )
    pidfd = containers.open_init(facts)
    if pidfd < 0:
        raise StateError("cannot exec in a stopped container")
    return pidfd


def _relay(wanted: Process, console_socket: str, *, detach: bool) -> Relay | None:
    if wanted.terminal and not detach and not console_socket:
        return console.Relay()
    console.check(wanted=wanted.terminal, console_socket=console_socket)
    return None


def _open_root(pid: int) -> int:
    path = f"/proc/{pid}/root"
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise kernel_error(error.errno or 0, "open", path) from None


def plan_of(call: Call, spec: Spec, wanted: Process, host: Host, facts: Facts) -> Plan:
    """Return the steps of exec, in phases as create has them."""
    flags, user_namespace = namespaces_to_join(facts.number("pid"))
    labels = lsm.steps(wanted)
    set_groups = exec_process.sets_groups(spec, wanted, facts.number("pid"))
    stub_forks = seccomp.lets_stub_fork(spec, wanted)
    inside: list[Step] = [
        EnterContainer(flags | CLONE_NEWPID, not stub_forks, f"container {facts.text('id')}"),
        *([namespaces.BecomeContainerRoot("linux.namespaces")] if user_namespace else []),
        *([process.JoinKeyring(process.KEYRING + facts.text("id"), "runtime default")]
          if facts.flag("keyring") else []),
        *terminal.steps(wanted, console=False, controlling=not stub_forks),
        *labels,
    ]  # fmt: skip
    scheduled: list[Step] = []
    if stub_forks and wanted.scheduler is not None:
        from aisbx_runtime.oci.plan import scheduling

        scheduled = scheduling.outside_steps(wanted.scheduler)
    itself = replace(wanted, scheduler=None) if scheduled else wanted
    confined = process.steps(
        itself, spec.linux, host, filter_flags=seccomp.flags_of(spec), set_groups=set_groups
    )
    outside = stdio.mappings_of(hosts.read_text(f"/proc/{facts.number('pid')}/uid_map"))
    given = stdio.steps(wanted.user.uid, outside if user_namespace else None)
    rootless = host.user_namespace or host.euid != 0
    joined = cgroups_to_join(call, tuple(facts.texts("cgroups")), facts.number("pid"), host)
    cgroups = {path: _join_step(path, facts, rootless=rootless) for path in joined}
    roomy = [path for path in cgroups if has_room(path)]
    # A memory policy must find the cpuset it is for: a later move would renumber its nodes.
    waits = spec.linux.memory_policy is not None
    run_first_on, run_on = _affinity(wanted)
    steps: dict[str, tuple[str, list[Step]]] = {
        "host": (
            RUNTIME,
            [
                # While paths lead to the runtime's own: the container's may be a trap.
                *([rootfs.OpenProc("runtime default")] if labels else []),
                *namespaces.group_steps(spec, host),
                *seccomp.host_steps(spec, host, f"{call.root()}/.cache/seccomp"),
                *run_first_on,
            ],
        ),
        "adopt": (
            RUNTIME,
            [
                *score.steps(wanted, host),
                *given,
                *_resctrl(spec, facts),
                *[cgroups[path] for path in roomy if waits],
            ],
        ),
        # At once where there is room: a move waits 15 ms for an RCU grace period meanwhile.
        "join": (RUNTIME, [cgroups[path] for path in roomy if not waits]),
        "rootfs": (INIT, inside),
        "process": (INIT, confined),
        # Only now, when the stub waits, and has forked: the Python heap of the child is not charged
        # to a container that may be smaller than it, nor a second process to its pids.max.
        "limits": (
            RUNTIME,
            [*[cgroups[path] for path in cgroups if path not in roomy], *run_on, *scheduled],
        ),
    }
    phases = [Phase(name, side, tuple(found)) for name, (side, found) in steps.items()]
    return Plan(tuple(phases), (), tuple(process.warnings(wanted, spec.linux, host)))


def _join_step(path: str, facts: Facts, *, rootless: bool) -> Step:
    if rootless and facts.text("scope"):
        from aisbx_runtime.oci.plan.scope_join import JoinScope

        return JoinScope(path, path, facts.text("scope"))
    return JoinCgroup(path, path, rootless)


def _resctrl(spec: Spec, facts: Facts) -> list[Step]:
    if spec.linux.intel_rdt is None:
        return []
    from aisbx_runtime.oci.plan import rdt

    return rdt.join_steps(spec.linux.intel_rdt, facts.text("id"))


def _affinity(wanted: Process) -> tuple[list[Step], list[Step]]:
    """Return what is done about CPUs before the birth, and when the process is in its cgroup."""
    may_run_anywhere = len(os.sched_getaffinity(0)) >= (os.cpu_count() or 0)
    if wanted.exec_cpu_affinity is None and may_run_anywhere:
        return [], []
    from aisbx_runtime.oci.plan import scheduling

    return scheduling.affinity_steps(wanted)


def cgroups_to_join(call: Call, paths: tuple[str, ...], pid: int, host: Host) -> tuple[str, ...]:
    """Return the container's cgroups, or those below them that --cgroup names."""
    words = call.values.list("cgroup")
    if words:
        from aisbx_runtime.oci.lifecycle import exec_cgroup

        return exec_cgroup.below(words, paths, host)
    try:
        # cgroups(7): where children have controllers there can be no process beside them.
        if not paths or not hosts.read_text(f"{paths[0]}/cgroup.subtree_control").strip():
            return paths
    except FileNotFoundError:
        # Without cgroup v2.
        return paths
    from aisbx_runtime.oci.lifecycle import exec_cgroup

    return exec_cgroup.beside_init(paths, pid, host)


def has_room(cgroup_path: str) -> bool:
    """Tell whether a Python child fits into a cgroup: its heap, and the process it forks."""
    for limit, usage, needed in (
        ("memory.max", "memory.current", _HEAP_BYTES),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", _HEAP_BYTES),
        ("pids.max", "pids.current", 1),
    ):
        try:
            most = hosts.read_text(f"{cgroup_path}/{limit}").strip()
            used = hosts.read_text(f"{cgroup_path}/{usage}")
        except FileNotFoundError:
            continue
        if most != "max" and int(most) - int(used) <= needed:
            return False
    # What has no such controller has no limit.
    return True


def namespaces_to_join(pid: int) -> tuple[int, bool]:
    """Return the flags of the namespaces that differ from ours, and whether the user's does.

    The pid namespace is not among them: whoever has children there enters it in its own way.
    """
    flags = 0
    for flag, name in TYPES.values():
        try:
            ours, theirs = os.stat(f"/proc/self/ns/{name}"), os.stat(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            # A kernel that was built without them, as those of time often are.
            continue
        if flag != CLONE_NEWPID and ours.st_ino != theirs.st_ino:
            flags |= flag
    return flags, bool(flags & TYPES["user"][0])


def _start(call: Call, plan: Plan, spec: Spec, wanted: Process, at: ExecWorld) -> None:
    create_side, init_side = channel.pair()
    attempt.apply_phase(plan, "host", at, call)
    near, far = attempt.socket_pair()
    job = _job(call, plan, spec, wanted, far)
    _give_birth(plan, at, create_side, init_side)
    if at.pid == 0:
        os.close(near)
        create_side.close()
        init.main(job, at, init_side)
    init_side.close()
    os.close(far)
    try:
        attempt.apply_phase(plan, "adopt", at, call)
        create_side.go()
        attempt.apply_phase(plan, "join", at, call)
        reap_helper(call.helper)
        if at.listener_socket_fd >= 0:
            from aisbx_runtime.oci.lifecycle import listener

            container = containers.load(call.root(), call.values.words[0])
            state = containers.state_of(container, container.facts(), status=RUNNING)
            listener.forward(create_side, at, spec, state)
        create_side.expect("ready")
        create_side.wait_for_stub(at.pidfd)
        if not _entering(plan).before_birth:
            attempt.fork_stub(at, near)
        attempt.apply_phase(plan, "limits", at, call)
        if not call.values.flag("detach"):
            foreground.forward_signals(at.pidfd)
        attempt.let_go(near, at.pid, lsm.of(wanted)[0])
        if call.values.text("pidfd-socket"):
            from aisbx_runtime.oci.lifecycle import pidfd_socket

            pidfd_socket.send(call.values.text("pidfd-socket"), at.pidfd, pidfd_socket.EXEC)
        if call.values.text("pid-file"):
            attempt.write_pid_file(call.values.text("pid-file"), at.pid)
    except BaseException as error:
        status = _end(at)
        if isinstance(error, InitDied):
            raise attempt.why_it_died(status, (), error) from None
        raise


def _job(call: Call, plan: Plan, spec: Spec, wanted: Process, start_fd: int) -> init.Job:
    kind = init.FORKS_WITH_TERMINAL if wanted.terminal else init.FORKS
    if _entering(plan).before_birth:
        kind = init.CONNECTED
    label = lsm.words_for_kernel(wanted)
    return init.Job(
        steps=tuple([one for one in plan.numbered() if one[1].side == INIT]),
        total=len(plan.numbered()),
        process=wanted,
        prepares=False,
        start_fd=start_fd,
        start_kind=kind | (init.LABELLED if label else 0),
        start_hooks=(),
        stub_fd=attempt.stub_file(),
        label=label,
        filter_flags=seccomp.flags_of(spec) or 0,
        keep_fds=call.values.number("preserve-fds"),
    )


def _entering(plan: Plan) -> EnterContainer:
    return next(step for step in plan.phase("rootfs") if isinstance(step, EnterContainer))


def _end(at: World) -> int:
    if at.pidfd < 0:
        # The stub has ended while it forked; what it may have made ends with the connection.
        return 0
    send_signal(at.pidfd, SIGKILL)
    return reap(at.pidfd)


def _give_birth(plan: Plan, at: ExecWorld, create_side: CreateSide, init_side: InitSide) -> None:
    """Fork, with at.pid and at.pidfd of the child; at.pid is 0 to itself.

    The child stays outside of the container's pid namespace: whoever may trace in there would see
    this Python, a program of the host (CVE-2016-9962, CVE-2019-5736). The stub forks into it.
    Where the container's filter forbids the stub to, the child is born inside, by an intermediate
    that has entered all else before: then its root and directory are the container's already.
    """
    enter = _entering(plan)
    if enter.before_birth:
        init_fd, flags = at.pidfd, enter.flags
        birth.by_intermediate(lambda: setns(init_fd, flags), 0, enter, at, create_side, init_side)
        return
    at.pid, pidfd = clone3()
    if at.pid:
        at.pidfd = pidfd
