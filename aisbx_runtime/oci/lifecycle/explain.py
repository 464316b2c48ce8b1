"""explain: the sandbox that a bundle becomes here, in a person's words or as JSON."""

from __future__ import annotations

from aisbx_runtime.oci import jsontext, page, report
from aisbx_runtime.oci.explain.document import explain, json_of, text_of
from aisbx_runtime.oci.lifecycle.foretell import foretold, format_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Print the explanation. Needs no root, changes nothing."""
    format_ = format_of(call)
    bundle, spec, host, plan = foretold(call)
    assert spec.process is not None  # noqa: S101  (the plan has refused it)
    found = explain(spec, spec.process, host, plan, bundle)
    if format_ == "json":
        report.out(jsontext.dump(json_of(found)) + "\n")
    else:
        report.out(text_of(found, coloured=page.is_coloured(1)))
    return 0
