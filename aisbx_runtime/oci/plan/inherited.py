"""What the program inherits besides its rights, in order; each has a file of its own.

Imported only where one of them is asked for.
"""

from __future__ import annotations

from aisbx_runtime.oci.plan import memory_policy, personality, scheduling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step
    from aisbx_runtime.oci.spec.model import Linux, Process


def steps(process: Process, linux: Linux) -> list[Step]:
    """Return scheduler, I/O priority, personality and memory policy."""
    return [
        *scheduling.steps(process),
        *(personality.steps(linux.personality) if linux.personality else []),
        *(memory_policy.steps(linux.memory_policy) if linux.memory_policy else []),
    ]
