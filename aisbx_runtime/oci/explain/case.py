"""What all topics look at: the spec, the host, the plan, and what the program will really hold."""

from __future__ import annotations

from aisbx_runtime.oci.plan import namespaces
from aisbx_runtime.oci.plan.process import grantable, mask_of
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec import capabilities
from aisbx_runtime.oci.spec.model import Capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Plan
    from aisbx_runtime.oci.spec.model import IdMapping, Linux, Process, Spec


@record
class Section:
    """One topic: sentences for people and, saying the same, facts for machines."""

    name: str
    title: str
    says: tuple[str, ...]
    facts: dict[str, object]


@record
class Danger:
    """What could let the program out, or let it harm the host; `weight` is 1 to 100."""

    code: str
    weight: int
    what: str
    why: str
    remedy: str
    origin: str

    def severity(self) -> str:
        """Return the weight as a word."""
        for least, word in ((90, "critical"), (60, "high"), (30, "medium")):
            if self.weight >= least:
                return word
        return "low"


@record
class Case:
    """One sandbox to explain. `powerful`: its capabilities count against the host itself."""

    spec: Spec
    process: Process
    host: Host
    plan: Plan
    bundle: str
    held: tuple[str, ...]
    obtainable: tuple[str, ...]
    powerful: bool

    def has(self, kind: str) -> bool:
        """Tell whether the container has a namespace of this type, new or joined."""
        return namespaces.is_private(self.spec, kind)


def case_of(spec: Spec, process: Process, host: Host, plan: Plan, bundle: str) -> Case:
    """Return the case of a container that this plan makes."""
    held, bounding = _after_execve(process, spec.linux, host)
    return Case(
        spec=spec,
        process=process,
        host=host,
        plan=plan,
        bundle=bundle,
        held=names_of(held),
        obtainable=() if process.no_new_privileges else names_of(bounding & ~held),
        powerful=not host.user_namespace
        and host.euid == 0
        and not namespaces.has_user_namespace(spec),
    )


def _after_execve(process: Process, linux: Linux, host: Host) -> tuple[int, int]:
    """Return the masks of what the program has once it runs, and of its bounding set.

    capabilities(7), "Capabilities and execution of programs by root": uid 0 gets all of the
    bounding set whatever config.json grants, with no_new_privs not more than it had before.
    """
    sets = process.capabilities or Capabilities()
    given = grantable(linux, host)
    permitted = mask_of(sets.permitted, host) & given
    inheritable = mask_of(sets.inheritable, host) & given
    bounding = mask_of(sets.bounding, host) & given
    if process.user.uid == 0:
        root = bounding | inheritable
        return (root & permitted if process.no_new_privileges else root), bounding
    return mask_of(sets.ambient, host) & permitted & inheritable, bounding


def names_of(mask: int) -> tuple[str, ...]:
    """Return the names of the capabilities of a mask."""
    return tuple([name for name, number in capabilities.NUMBERS.items() if mask >> number & 1])


def outside(number: int, mappings: tuple[IdMapping, ...]) -> int | None:
    """Return the id outside the user namespace, None when it has none there."""
    for one in mappings:
        if one.container_id <= number < one.container_id + one.size:
            return one.host_id + number - one.container_id
    return None
