"""doctor: what this host can and cannot enforce, each with what it means and the exact remedy."""

from __future__ import annotations

from aisbx_runtime.oci import jsontext, page, report
from aisbx_runtime.oci.probe.document import diagnose, json_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Print the diagnosis; return 1 when no container can run here. Changes nothing."""
    found = diagnose()
    if call.values.flag("json"):
        report.out(jsontext.dump(json_of(found)) + "\n")
    else:
        report.out(text_of(found, coloured=page.is_coloured(1)))
    return 0 if found.can_run() else 1
