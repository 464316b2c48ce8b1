"""state: what a container is at this moment, as JSON."""

from __future__ import annotations

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import jsontext, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Print the state of runtime.md."""
    container = containers.load(call.root(), call.values.words[0])
    state = containers.state_of(container, container.facts())
    report.out(jsontext.dump(state) + "\n")
    return 0
