"""How a process of `exec` gets into a container's scope of systemd. How one is made: `scope`."""

from __future__ import annotations

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.plan.cgroup_steps import NOT_OURS, failed, hint_for, write_file
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import World


@record
class JoinScope:
    """Move a process of exec into the container's cgroup, by systemd where that is needed.

    cgroups(7), "delegation": a user may not move a process in from outside of what is delegated,
    such as the scope of a login session; systemd may.
    """

    origin: str
    path: str
    scope: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"move the process into cgroup {self.path}"

    def apply(self, at: World) -> None:
        """Write its pid, or ask systemd to. Raises StepError, HostError."""
        try:
            write_file(f"{self.path}/cgroup.procs", str(at.pid))
        except KernelError as error:
            if error.errno not in NOT_OURS:
                raise failed(
                    f"cannot move the process into cgroup {self.path}",
                    self.origin,
                    error,
                    hint=hint_for("cgroup.procs", error),
                ) from None
            self._ask(at.pid)

    def _ask(self, pid: int) -> None:
        unit, _, address = self.scope.partition(" ")
        below = self.path.partition(f"/{unit}")[2].strip("/")
        from aisbx_runtime.oci.systemd import instance
        from aisbx_runtime.oci.systemd import scope as scopes
        from aisbx_runtime.oci.systemd.bus import CallError

        try:
            with instance.connect((address,)) as bus:
                scopes.attach(bus, unit, below, pid)
        except CallError as error:
            what = f"systemd does not move the process into {unit}"
            raise scopes.cannot(what, error, self.origin) from None
