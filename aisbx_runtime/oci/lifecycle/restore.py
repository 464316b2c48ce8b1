"""restore: a container from what checkpoint has written, by criu; all of it or nothing.

What criu is and how it is asked lives in `oci.criu`, the steps beside it in `plan.restore`.
"""

from __future__ import annotations

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.criu import image, log, messages, outside, program
from aisbx_runtime.oci.criu.session import Session
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.flags import BOOL, TEXT, Flag
from aisbx_runtime.oci.jsontext import is_array
from aisbx_runtime.oci.kernel import terminal
from aisbx_runtime.oci.kernel.signal import start_time_of
from aisbx_runtime.oci.lifecycle import apart, attempt, criu_request, foreground
from aisbx_runtime.oci.lifecycle import create as creating
from aisbx_runtime.oci.lifecycle.delete import destroy, kill_cgroup
from aisbx_runtime.oci.lifecycle.foretell import options_of
from aisbx_runtime.oci.plan import cgroup, namespaces
from aisbx_runtime.oci.plan import restore as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.container import Container, Facts
    from aisbx_runtime.oci.criu.messages import Answer
    from aisbx_runtime.oci.lifecycle.create import ContainerWorld, Request
    from aisbx_runtime.oci.lifecycle.criu_request import Places
    from aisbx_runtime.oci.plan.cgroup import CgroupPlan
    from aisbx_runtime.oci.plan.step import Plan, Step, World

FLAGS = (
    *criu_request.FLAGS,
    Flag(("bundle", "b"), TEXT, "directory of config.json (default: the current one)"),
    Flag(("console-socket",), TEXT, "socket that receives the master end of the terminal"),
    Flag(("detach", "d"), BOOL, "return when the container runs"),
    Flag(("pid-file",), TEXT, "file to write the pid of container init to"),
    Flag(("no-pivot",), BOOL, "accepted: criu enters the root in its own way"),
    Flag(("no-new-keyring",), BOOL, "keep the caller's session keyring"),
    Flag(("no-subreaper",), BOOL, "accepted: orphans are never reaped by the runtime"),
    Flag(("parent-path",), TEXT, "accepted: the image knows its parent"),
    Flag(("tcp-close",), BOOL, "restore TCP connections as closed ones"),
    Flag(("lsm-profile",), TEXT, "TYPE:NAME, another label than the one that was saved"),
    Flag(("lsm-mount-context",), TEXT, "another SELinux context of mounts than the saved one"),
)
_LOG = "restore.log"

# `restore --help` fails where criu does not work, as `checkpoint --help` does.
require = program.require


def main(call: Call) -> int:
    """Restore a container; wait for its end and delete it, unless detached."""
    values = call.values
    found = program.require()
    detach = values.flag("detach")
    request = creating.request_of(call, values.words[0], in_front=not detach)
    criu_request.check_namespaces(request.spec, "restore")
    places = criu_request.open_places(values, _LOG, make_image=False)
    attempted = _Restore(request, call, places, found.path)
    container, at = attempted.carry_out()
    container.unlock()
    if detach:
        return 0
    code = foreground.wait(at.pidfd, request.relay)
    container.lock()
    destroy(container, container.facts())
    return code


class _Restore:
    """One restore, with what its parts share."""

    def __init__(self, request: Request, call: Call, places: Places, criu: str) -> None:
        """Plan it; nothing is changed yet."""
        self._request = request
        self._call = call
        self._places = places
        self._criu = criu
        host = hosts.detect()
        options = options_of(call, host)
        self._cgroups: CgroupPlan = cgroup.plan(
            request.spec, host, request.id, options.cgroup_manager, options.systemd
        )
        self._plan: Plan = plans.build(
            request.spec,
            request.bundle,
            options,
            self._cgroups,
            container_id=request.id,
            directory=f"{request.root}/{request.id}",
        )
        self._descriptors = _descriptors(places)
        self._facts: Facts = creating.first_facts(request)

    def carry_out(self) -> tuple[Container, ContainerWorld]:
        """Make the container. On any failure what was made is undone and the failure is raised."""
        request = self._request
        container = containers.reserve(request.root, request.id)
        at = creating.ContainerWorld(container, request, self._facts)
        try:
            container.replace(containers.CONFIG, request.config)
            container.save(self._facts)
            os.mkdir(plans.ROOT_DIRECTORY, 0o700, dir_fd=container.dir_fd)
            try:
                self._make(container, at)
            finally:
                os.rmdir(plans.ROOT_DIRECTORY, dir_fd=container.dir_fd)
            self._finish(container, at)
        except BaseException as error:
            # Whatever criu has left there when it was killed.
            kill_cgroup(container, self._facts)
            creating.undo(request, container, at, error)
            raise
        return container, at

    def _make(self, container: Container, at: ContainerWorld) -> None:
        attempt.apply_phase(self._plan, "host", at, self._call)
        _apart(self._plan.phase("mount points"), at)
        mode, options = self._options(container, at)
        steps = list(self._plan.phase("criu"))
        if mode == "ignore" and namespaces.is_new(self._request.spec, "cgroup"):
            # With its other modes criu makes one for what it restores.
            steps.insert(0, namespaces.NewCgroupNamespace("linux.namespaces"))
        session = Session(
            self._criu,
            at,
            steps=tuple(steps),
            directories=self._places.directories(),
            fds=tuple(at.namespace_fds.values()),
        )
        answer: Answer | None = None
        try:
            at.pid = session.pid
            attempt.apply_phase(self._plan, "adopt", at, self._call)
            at.pid = 0
            if mode != "ignore":
                self._move_cgroups(options, session.pid)
            session.go()
            answer = session.ask(
                messages.request(messages.RESTORE, options),
                lambda said, fd: self._notified(said, fd, container, at),
            )
        except BaseException:
            session.kill()
            raise
        finally:
            session.close()
        if answer is None or not answer.success:
            what = f"cannot restore container {container.id}"
            raise log.failure(what, answer, self._places.log)

    def _options(self, container: Container, at: World) -> tuple[str, messages.Options]:
        values, spec = self._call.values, self._request.spec
        options = criu_request.common_options(values, spec, self._places)
        for flag in ("rst_sibling", "evasive_devices"):
            options.number(flag, 1)
        options.text("root", f"{container.path}/{plans.ROOT_DIRECTORY}")
        if values.flag("tcp-close"):
            options.number("tcp_close", 1)
        for flag in ("lsm-profile", "lsm-mount-context"):
            if values.text(flag):
                options.text(flag.replace("-", "_"), values.text(flag))
        # Only criu can make again what it has saved of cgroups below the container's.
        saved = bool(image.cgroup_heads(self._places.image_fd))
        mode = criu_request.set_cgroup_mode(options, values, "soft" if saved else "ignore")
        host = hosts.detect()
        for name, source in outside.sources(spec, self._request.bundle, host, self._cgroups):
            options.pair("ext_mnt", name, source)
        for name, fd in outside.inherited(self._descriptors):
            options.pair("inherit_fd", name, fd)
        for kind, fd in at.namespace_fds.items():
            if kind in outside.INHERITED:
                options.pair("inherit_fd", outside.INHERITED[kind][1], fd)
            else:
                options.pair("join_ns", kind, f"/proc/self/fd/{fd}")
        return mode, options

    def _move_cgroups(self, options: messages.Options, pid: int) -> None:
        """Tell criu where the container's cgroups are now, where that is not where they were."""
        heads = image.cgroup_heads(self._places.image_fd)
        for controllers, path in _cgroups_of(pid):
            if not any(f"{head}/".startswith(f"{path}/") for head in heads):
                options.pair("cg_root", controllers, path)

    def _notified(self, said: Answer, fd: int, container: Container, at: ContainerWorld) -> None:
        if said.script == "orphan-pts-master":
            self._connect_terminal(fd, at)
        elif said.script == "setup-namespaces":
            at.pid = said.pid
            _apart(self._plan.phase("network"), at)
            hooks = self._request.spec.hooks
            at.hooks_began = bool(hooks.prestart or hooks.create_runtime)
            attempt.apply_phase(self._plan, "hooks", at, self._call)
        elif said.script == "post-restore":
            at.pid = said.pid
            at.pidfd = os.pidfd_open(said.pid)
            started = start_time_of(said.pid)
            self._facts = self._facts.with_fields(pid=said.pid, start_time=started)
            container.save(self._facts)
            at.know(self._facts)
            _apart(self._plan.phase("flags"), at)
            attempt.apply_phase(self._plan, "limits", at, self._call)
            if self._request.relay is not None:
                # Before the program can say that it is there: who reads it may signal us at once.
                foreground.forward_signals(at.pidfd)

    def _connect_terminal(self, master_fd: int, at: ContainerWorld) -> None:
        request = self._request
        if request.console_socket:
            from aisbx_runtime.oci import console

            at.console_fd = console.connect(request.console_socket)
        elif request.relay is not None:
            at.console_fd = request.relay.fd
        try:
            at.send_terminal(master_fd, f"/dev/pts/{terminal.pty_number(master_fd)}")
        finally:
            os.close(master_fd)

    def _finish(self, container: Container, at: ContainerWorld) -> None:
        request = self._request
        if request.relay is not None:
            request.relay.receive()
        container.save(self._facts.with_fields(complete=True))
        if request.pid_file:
            container.own("file", attempt.temporary_of(request.pid_file))
            attempt.write_pid_file(request.pid_file, at.pid)


def _descriptors(places: Places) -> list[str]:
    """Return what the fds 0 to 2 were. An image without that has none of them outside."""
    try:
        fd = os.open(
            criu_request.DESCRIPTORS,
            os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
            dir_fd=places.image_fd,
        )
    except FileNotFoundError:
        return []
    try:
        value = jsontext.parse(os.read(fd, 65536).decode(errors="replace"))
    except ValueError as error:
        raise Failure(
            f"cannot read {places.image}/{criu_request.DESCRIPTORS}", why=str(error)
        ) from None
    finally:
        os.close(fd)
    return [str(one) for one in value] if is_array(value) else []


def _cgroups_of(pid: int) -> list[tuple[str, str]]:
    """Return (controllers, path) of each hierarchy: cgroups(7), /proc/PID/cgroup."""
    lines = hosts.read_text(f"/proc/{pid}/cgroup").splitlines()
    return [(fields[1], fields[2]) for fields in (line.split(":", 2) for line in lines)]


def _apart(steps: tuple[Step, ...], at: World) -> None:
    """Let a child carry out steps that change its own namespaces. Raises the Failure of one."""
    apart.carry_out(steps, at, died=Failure("a child of the runtime died", hint="see dmesg"))
