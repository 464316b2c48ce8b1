"""`linux.memoryPolicy`: from which NUMA nodes the memory of the container comes."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.kernel import scheduling as kernel
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec import cpu_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import MemoryPolicy

# include/uapi/linux/mempolicy.h
MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
FLAGS = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
# set_mempolicy(2): the first two take no node, MPOL_PREFERRED may have none.
_WITHOUT_NODES = frozenset(("MPOL_DEFAULT", "MPOL_LOCAL"))
_MAY_LACK_NODES = _WITHOUT_NODES | {"MPOL_PREFERRED"}
# The memory nodes of the cgroup: written after a policy, they would renumber its nodes
# (mm/mempolicy.c, mpol_rebind_default).
CPUSET_ORIGIN = "linux.resources.cpu.mems"


@record
class SetMemoryPolicy:
    """Set the memory policy, which is inherited and survives execve."""

    policy: MemoryPolicy
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        one = self.policy
        nodes = [f"nodes {one.nodes}"] if one.nodes else []
        return f"set the memory policy to {', '.join([one.mode, *nodes, *one.flags])}"

    def apply(self, at: World) -> None:
        """See set_mempolicy(2)."""
        del at
        one = self.policy
        mode = MODES[one.mode] | sum({FLAGS[name] for name in one.flags})
        kernel.set_mempolicy(mode, cpu_list.numbers_of(one.nodes) or frozenset())


def steps(wanted: MemoryPolicy) -> list[Step]:
    """Return the step. Raises SpecError for nodes that do not fit the mode."""
    nodes = cpu_list.numbers_of(wanted.nodes)
    if nodes is None:
        raise _error("nodes: expected a list of memory nodes", 'write "0-3,7"')
    if nodes and wanted.mode in _WITHOUT_NODES:
        raise _error(f"nodes: {wanted.mode} takes none", "drop the nodes")
    if not nodes and wanted.mode not in _MAY_LACK_NODES:
        raise _error(f"nodes: {wanted.mode} needs at least one", 'write "0"')
    return [SetMemoryPolicy(wanted, "linux.memoryPolicy")]


def _error(what: str, hint: str) -> SpecError:
    return SpecError(f"linux.memoryPolicy.{what}", where="config.json", hint=hint)
