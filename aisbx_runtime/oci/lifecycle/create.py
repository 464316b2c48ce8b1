"""create: from a bundle to a container whose init waits for start; all of it or nothing."""

from __future__ import annotations

import _socket
import time

from aisbx_runtime.oci import birth, channel, console, init, jsontext, report
from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.channel import InitDied
from aisbx_runtime.oci.container import CREATING, START_SOCKET, Facts
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.hooks import run as run_hook
from aisbx_runtime.oci.kernel.signal import (
    SIGKILL,
    reap,
    reap_helper,
    send_signal,
    start_time_of,
)
from aisbx_runtime.oci.lifecycle import attempt
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.lifecycle.delete import (
    kill_cgroup,
    remove_cgroups,
    remove_mounts,
    remove_resctrl_groups,
    run_poststop,
)
from aisbx_runtime.oci.lifecycle.foretell import options_of
from aisbx_runtime.oci.plan import lsm, rootfs, seccomp
from aisbx_runtime.oci.plan.build import build
from aisbx_runtime.oci.plan.step import INIT, World
from aisbx_runtime.oci.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.oci.channel import CreateSide
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.console import Relay
    from aisbx_runtime.oci.container import Container
    from aisbx_runtime.oci.plan.step import Plan
    from aisbx_runtime.oci.spec.model import Hook, Spec


@record
class Request:
    """What is to be created."""

    id: str
    root: str
    bundle: str
    config: bytes
    spec: Spec
    plan: Plan
    console_socket: str
    relay: Relay | None
    pid_file: str
    preserve_fds: int
    new_keyring: bool


class ContainerWorld(World):
    """The world of create: steps reach the container's journal, hooks and console through it."""

    def __init__(self, container: Container, request: Request, facts: Facts) -> None:
        """Start with nothing open."""
        super().__init__(request.id, request.bundle)
        self._container = container
        self.scratch_fd = container.dir_fd
        self._facts = facts
        self._init_side = False
        # What hooks of create have begun, poststop hooks are to end (runtime.md, lifecycle).
        self.hooks_began = False

    def enter_init(self) -> None:
        """Note that this copy of the world is container init's."""
        self._init_side = True
        # flock(2): the lock is let go when the last copy of the fd is closed, and init lives on
        # with startContainer hooks: `start` would wait for it, and it for `start`.
        self._container.close()

    def know(self, facts: Facts) -> None:
        """Take over newer facts, which hooks are told."""
        self._facts = facts

    def own(self, kind: str, path: str) -> None:
        """Journal a thing before it is made."""
        self._container.own(kind, path)

    def run_hooks(
        self, kind: str, hooks: tuple[Hook, ...], confine: Callable[[], object] | None = None
    ) -> None:
        """Run hooks here; those of init see the pid that they can use (runc: 1 or its own)."""
        facts = self._facts.with_fields(pid=os.getpid() if self._init_side else self.pid)
        status = containers.CREATED if kind == "startContainer" else CREATING
        state = containers.state_of(self._container, facts, status=status)
        text = jsontext.dump(state).encode()
        # startContainer hooks run where the bundle is out of reach; createContainer hooks start in
        # the rootfs, as under runc: they are there to change it.
        directory = {
            "startContainer": None,
            "createContainer": self._facts.text("rootfs"),
        }.get(kind, self.bundle)
        for hook in hooks:
            run_hook(kind, hook, text, directory, confine)

    def send_terminal(self, master_fd: int, name: str) -> None:
        """Send it to the console socket."""
        console.send(self.console_fd, master_fd, name)


def main(call: Call) -> int:
    """Create a container and return when its init waits for start."""
    request = request_of(call, call.values.words[0])
    container, _ = create(request, call)
    del container
    return 0


def request_of(
    call: Call, container_id: str, bundle: str | None = None, *, in_front: bool = False
) -> Request:
    """Read everything that is to be read; nothing has been changed yet. Raises Failure.

    `in_front` relays a terminal to the user's own when there is no console socket.
    """
    values = call.values
    containers.check_id(container_id)
    # Before the first fd of our own: what leaks in from the caller ends here, and none of ours
    # lies in the range that the process is to get (contract.md 9, 10).
    listening = attempt.listen_fds()
    preserve = listening + values.number("preserve-fds")
    leaked = attempt.settle(preserve)
    path = bundles.directory_of(bundle or values.optional("bundle"))
    config, spec = bundles.read_config(path, values.text("config"))
    if spec.process is not None:
        spec = replace(spec, process=attempt.with_listen_fds(spec.process, listening))
    bundles.check_rootfs(rootfs.path_of(spec, path))
    attempt.drop(leaked)
    terminal = spec.process is not None and spec.process.terminal
    socket = values.text("console-socket")
    relay = console.Relay() if terminal and in_front and not socket else None
    if relay is None:
        console.check(wanted=terminal, console_socket=socket)
    root = call.root()
    host = hosts.detect()
    options = options_of(call, host)
    plan = build(spec, host, container_id, path, options)
    return Request(
        id=container_id,
        root=root,
        bundle=path,
        config=config,
        spec=spec,
        plan=plan,
        console_socket=socket,
        relay=relay,
        pid_file=values.text("pid-file"),
        preserve_fds=preserve,
        new_keyring=not options.no_new_keyring,
    )


def create(request: Request, call: Call) -> tuple[Container, ContainerWorld]:
    """Make the container. On any failure everything made is undone and the failure is raised."""
    container = containers.reserve(request.root, request.id)
    facts = first_facts(request)
    at = ContainerWorld(container, request, facts)
    try:
        container.replace(containers.CONFIG, request.config)
        container.save(facts)
        _make(request, container, facts, at, call)
    except BaseException as error:
        undo(request, container, at, error)
        raise
    for warning in request.plan.warnings:
        report.warning(call.options, warning)
    return container, at


def first_facts(request: Request) -> Facts:
    """Return what is known of a container before it is made."""
    return Facts(
        {
            "ociVersion": request.spec.oci_version,
            "id": request.id,
            "bundle": request.bundle,
            "rootfs": rootfs.path_of(request.spec, request.bundle),
            "created": containers.rfc3339(time.time_ns()),
            "owner": "",
            "annotations": request.spec.annotations,
            "cgroups": list(request.plan.cgroups),
            "pid": 0,
            "start_time": 0,
            "own_pid_namespace": any(
                one.type == "pid" and not one.path for one in request.spec.linux.namespaces
            ),
            "keyring": request.new_keyring,
            "hooks": {
                name: True
                for name in ("poststart", "poststop")
                if getattr(request.spec.hooks, name)
            },
            "lsm": lsm.of(request.spec.process)[0] if request.spec.process else "",
            "complete": False,
            **({"scope": request.plan.scope} if request.plan.scope else {}),
        }
    )


def _make(
    request: Request, container: Container, facts: Facts, at: ContainerWorld, call: Call
) -> None:
    plan = request.plan
    if request.console_socket:
        at.console_fd = console.connect(request.console_socket)
    elif request.relay is not None:
        at.console_fd = request.relay.fd
    job = _job(request, container)
    create_side, init_side = channel.pair()
    attempt.apply_phase(plan, "host", at, call)
    attempt.apply_phase(
        plan,
        "birth",
        at,
        call,
        act=lambda _: birth.give_birth(plan.birth, at, create_side, init_side),
    )
    if at.pid == 0:
        at.enter_init()
        # Else it would hold the other end itself, and never hear that create is gone.
        create_side.close()
        init.main(job, at, init_side)
    init_side.close()
    facts = facts.with_fields(pid=at.pid, start_time=start_time_of(at.pid))
    container.save(facts)
    at.know(facts)
    try:
        attempt.apply_phase(plan, "adopt", at, call)
        create_side.go()
        attempt.apply_phase(plan, "join", at, call)
        reap_helper(call.helper)
        _wait_until_prepared(create_side, request, at)
        attempt.apply_phase(plan, "hooks", at, call)
        create_side.go()
        _wait_until_ready(create_side, request, container, facts, at)
        if not job.start_hooks:
            create_side.wait_for_stub(at.pidfd)
        attempt.apply_phase(plan, "limits", at, call)
    except InitDied as death:
        status = reap(at.pidfd)
        at.pid = 0
        raise attempt.why_it_died(status, plan.cgroups, death) from None
    container.save(facts.with_fields(complete=True))
    if call.values.text("pidfd-socket"):
        from aisbx_runtime.oci.lifecycle import pidfd_socket

        pidfd_socket.send(call.values.text("pidfd-socket"), at.pidfd, pidfd_socket.CONTAINER)
    if request.pid_file:
        container.own("file", attempt.temporary_of(request.pid_file))
        attempt.write_pid_file(request.pid_file, at.pid)


def _wait_until_prepared(create_side: CreateSide, request: Request, at: ContainerWorld) -> None:
    create_side.expect("prepared")
    hooks = request.spec.hooks
    at.hooks_began = bool(hooks.prestart or hooks.create_runtime or hooks.create_container)


def _wait_until_ready(
    create_side: CreateSide, request: Request, container: Container, facts: Facts, at: World
) -> None:
    if at.listener_socket_fd >= 0:
        from aisbx_runtime.oci.lifecycle import listener

        state = containers.state_of(container, facts, status=CREATING)
        listener.forward(create_side, at, request.spec, state)
    create_side.expect("ready")


def _job(request: Request, container: Container) -> init.Job:
    spec, process = request.spec, request.spec.process
    assert process is not None  # noqa: S101  (build has refused it)
    numbered = request.plan.numbered()
    flags = seccomp.flags_of(spec)
    label = lsm.words_for_kernel(process)
    return init.Job(
        steps=tuple([one for one in numbered if one[1].side == INIT]),
        total=len(numbered),
        process=process,
        prepares=True,
        start_fd=_listen(container),
        start_kind=init.WAIT_FOR_CONNECTION | (init.LABELLED if label else 0),
        start_hooks=spec.hooks.start_container,
        stub_fd=attempt.stub_file(),
        label=label,
        filter_flags=flags or 0,
        keep_fds=request.preserve_fds,
    )


def _listen(container: Container) -> int:
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    # By the fd of the directory: a path of a socket may be 107 bytes long only.
    listener.bind(f"/proc/self/fd/{container.dir_fd}/{START_SOCKET}")
    listener.listen(1)
    return listener.detach()


def undo(request: Request, container: Container, at: ContainerWorld, error: BaseException) -> None:
    """Leave nothing behind; what cannot be undone is noted on the first error."""
    if at.pid > 0 and at.pidfd >= 0:
        send_signal(at.pidfd, SIGKILL)
        reap(at.pidfd)
    try:
        facts = container.facts()
        if not facts.flag("own_pid_namespace"):
            # What hooks have left running there; the death of init has taken nobody along.
            kill_cgroup(container, facts)
        remove_mounts(container)
        remove_cgroups(container, facts)
        remove_resctrl_groups(container, failed=True)
        container.remove()
    except (OSError, Failure) as second:
        attempt.note_leftover(error, container.path, second)
    if at.hooks_began:
        state = containers.state_of(container, first_facts(request), status=containers.STOPPED)
        run_poststop(request.config, state, first_facts(request))
