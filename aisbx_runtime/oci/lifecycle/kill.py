"""kill: a signal to container init, or to every process of the container."""

from __future__ import annotations

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import NOT_RUNNING, StateError
from aisbx_runtime.oci.kernel.signal import SIGKILL, send_signal
from aisbx_runtime.oci.spec import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Send the signal; TERM when none is named."""
    words = call.values.words
    number = signals.number_of(words[1] if len(words) > 1 else "TERM")
    container = containers.load(call.root(), words[0])
    facts = container.facts()
    cgroups = tuple(facts.texts("cgroups"))
    if call.values.flag("all"):
        # Also to what a dead init has left behind, without an error (contract.md 21).
        _kill_all(cgroups, number)
        return 0
    pidfd = containers.open_init(facts)
    if pidfd < 0:
        raise StateError(f"{NOT_RUNNING}: {container.id}")
    if not send_signal(pidfd, number):
        raise StateError(f"{NOT_RUNNING}: {container.id}")
    if number == SIGKILL:
        _finish(facts.flag("own_pid_namespace"), cgroups)
    os.close(pidfd)
    return 0


def _kill_all(cgroups: tuple[str, ...], number: int) -> None:
    from aisbx_runtime.oci import cgroup

    cgroup.kill(cgroups, number)


def _finish(own_pid_namespace: bool, cgroups: tuple[str, ...]) -> None:  # noqa: FBT001
    if not cgroups:
        return
    from aisbx_runtime.oci import cgroup

    if not own_pid_namespace:
        # pid_namespaces(7): with init die all of its namespace; without one, none.
        cgroup.kill(cgroups, SIGKILL)
    elif cgroup.is_frozen(cgroups):
        # A v1 freezer keeps a killed process from dying.
        cgroup.thaw(cgroups)
