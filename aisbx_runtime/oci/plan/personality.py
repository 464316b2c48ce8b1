"""`linux.personality`: the execution domain that uname(2) shows."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.kernel import scheduling as kernel
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Personality

# include/uapi/linux/personality.h
DOMAINS = {"LINUX": 0x0, "LINUX32": 0x8}


@record
class SetPersonality:
    """Set the execution domain, which is inherited and survives execve."""

    domain: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"set the personality to {self.domain}"

    def apply(self, at: World) -> None:
        """See personality(2)."""
        del at
        kernel.personality(DOMAINS[self.domain])


def steps(wanted: Personality) -> list[Step]:
    """Return the step. Raises SpecError for flags, of which the runtime spec has none yet."""
    if wanted.flags:
        raise SpecError(
            f'linux.personality.flags[0]: "{wanted.flags[0]}" is no flag that the spec knows',
            where="config.json",
            hint="remove it from config.json",
        )
    return [SetPersonality(wanted.domain, "linux.personality")]
