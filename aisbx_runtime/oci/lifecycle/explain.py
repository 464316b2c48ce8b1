"""explain: the sandbox that a bundle becomes here, in a person's words or as JSON."""

from __future__ import annotations

from aisbx_runtime.oci import jsontext, page, report
from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.explain.document import explain, json_of, text_of
from aisbx_runtime.oci.lifecycle.foretell import foretold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Print the explanation. Needs no root, changes nothing."""
    format_ = call.values.text("format") or "text"
    if format_ not in {"text", "json"}:
        raise UsageError(f"--format {format_}: no such format", hint="write text or json")
    bundle, spec, host, plan = foretold(call)
    assert spec.process is not None  # noqa: S101  (the plan has refused it)
    found = explain(spec, spec.process, host, plan, bundle)
    if format_ == "json":
        report.out(jsontext.dump(json_of(found)) + "\n")
    else:
        report.out(text_of(found, coloured=page.is_coloured(1)))
    return 0
