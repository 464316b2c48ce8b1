"""`linux.seccomp`: the compiled filter, ready for the stub. Compiling lives in `oci.seccomp`."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Process, Seccomp, Spec

_NOTIFY = "SCMP_ACT_NOTIFY"
# Ours is sendmsg; runc needs write, and refuses it.
_NOT_TO_NOTIFY = ("sendmsg", "write")


@record
class LoadFilter:
    """Get the compiled filter, from the cache or from libseccomp, before anything is born."""

    seccomp: Seccomp
    cache_dir: str
    machine: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        rules = sum([len(rule.names) for rule in self.seccomp.syscalls])
        return f"load the seccomp filter: {self.seccomp.default_action}, {rules} system calls named"

    def apply(self, at: World) -> None:
        """Put the program into a memfd that container init hands to the stub."""
        from aisbx_runtime.oci.seccomp import cache

        program = cache.program(self.seccomp, cache_dir=self.cache_dir, machine=self.machine)
        at.filter_program = program
        at.filter_fd = os.memfd_create("aisbx-filter", os.MFD_CLOEXEC)
        os.write(at.filter_fd, program)
        os.lseek(at.filter_fd, 0, os.SEEK_SET)


@record
class ConnectListener:
    """Connect to who listens, before anything is born; create sends the listener there."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"connect to the seccomp listener at {self.path}"

    def apply(self, at: World) -> None:
        """Connect; the connection ends with the message."""
        import _socket

        from aisbx_runtime.oci.errors import Failure, why_of

        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            socket.connect(self.path)
        except OSError as error:
            socket.close()
            # runc's words.
            raise Failure(
                f"failed to connect with seccomp agent at {self.path}",
                why=f"connect: {why_of(error)}",
                hint="start the program that listens there first",
            ) from None
        at.listener_socket_fd = socket.detach()


def check_listener(seccomp: Seccomp) -> None:
    """Raise SpecError for notifications that nobody could answer."""
    from aisbx_runtime.oci.errors import SpecError

    if seccomp.default_action == _NOTIFY:
        raise SpecError(
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY would stop the call that hands over"
            " the listener",
            where="config.json",
            hint="name the system calls that shall notify",
        )
    for index, rule in enumerate(seccomp.syscalls):
        for name in _NOT_TO_NOTIFY:
            if rule.action == _NOTIFY and name in rule.names:
                raise SpecError(
                    f"linux.seccomp.syscalls[{index}]: SCMP_ACT_NOTIFY cannot be used for the"
                    f" {name} syscall, which handing over the listener takes",
                    where="config.json",
                    hint="let it be allowed",
                )


def host_steps(spec: Spec, host: Host, cache_dir: str) -> list[Step]:
    """Return how the runtime gets the filter."""
    seccomp = spec.linux.seccomp
    if seccomp is None:
        return []
    load = LoadFilter(seccomp, cache_dir, host.machine, "linux.seccomp")
    notify = [rule.action for rule in seccomp.syscalls if rule.action == _NOTIFY]
    if not notify and seccomp.default_action != _NOTIFY:
        return [load]
    check_listener(seccomp)
    return [load, ConnectListener(seccomp.listener_path, "linux.seccomp.listenerPath")]


def flags_of(spec: Spec) -> int | None:
    """Return the seccomp(2) flags of the filter, None when there is no filter."""
    if spec.linux.seccomp is None:
        return None
    from aisbx_runtime.oci import seccomp

    return seccomp.flags_of(spec.linux.seccomp)


def lets_stub_fork(spec: Spec, process: Process) -> bool:
    """Tell whether the filter, where the stub is under it already, lets the stub fork for exec."""
    profile = spec.linux.seccomp
    if profile is None:
        return True
    from aisbx_runtime.oci import seccomp

    if process.no_new_privileges and not seccomp.notifies(profile):
        return True
    from aisbx_runtime.oci.kernel.process import CLONE_PARENT, SIGCHLD
    from aisbx_runtime.oci.kernel.terminal import TIOCSCTTY
    from aisbx_runtime.oci.seccomp import verdict

    calls: dict[str, dict[int, int]] = {
        "clone": {0: CLONE_PARENT | SIGCHLD},
        "setsid": {},
        "ioctl": {0: 0, 1: TIOCSCTTY, 2: 0},
    }
    if not process.terminal:
        del calls["ioctl"]
    return all(verdict.decide(profile, name, args) == "allowed" for name, args in calls.items())


def stub_installs(spec: Spec, process: Process) -> bool:
    """Tell whether the stub installs the filter, the last thing before execve."""
    return spec.linux.seccomp is not None and process.no_new_privileges
