"""pause and resume: freeze every process of a container, and let them go on."""

from __future__ import annotations

from aisbx_runtime.oci import cgroup
from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.container import CREATED, PAUSED, RUNNING
from aisbx_runtime.oci.errors import HostError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Freeze for `pause`, thaw for `resume`."""
    pausing = call.verb == "pause"
    container = containers.load(call.root(), call.values.words[0])
    container.lock()
    facts = container.facts()
    status = containers.status_of(container, facts)
    if status not in ({RUNNING, CREATED} if pausing else {PAUSED}):
        raise StateError(
            f"cannot {call.verb} container {container.id} that is {status}",
            hint=f"only a {'running' if pausing else 'paused'} container can be {call.verb}d",
        )
    # Without rights to cgroups create has made none (rootless).
    cgroups = tuple([path for path in facts.texts("cgroups") if os.path.isdir(path)])
    if not cgroups:
        raise HostError(
            f"cannot {call.verb} container {container.id}: it has no cgroup",
            hint="create it with a cgroup manager and the freezer controller",
        )
    if pausing:
        cgroup.freeze(cgroups)
    else:
        cgroup.thaw(cgroups)
    return 0
