"""explain: the sandbox that a bundle becomes here, in a person's words or as JSON."""

from __future__ import annotations

from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import jsontext, page, report
from aisbx_runtime.oci.errors import SpecError, UsageError
from aisbx_runtime.oci.explain.document import explain, json_of, text_of
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.plan.build import Options, build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call

_EXAMPLE_ID = "CONTAINER"


def main(call: Call) -> int:
    """Print the explanation. Needs no root, changes nothing."""
    values = call.values
    format_ = values.text("format") or "text"
    if format_ not in {"text", "json"}:
        raise UsageError(f"--format {format_}: no such format", hint="write text or json")
    bundle = bundles.directory_of(values.words[0] if values.words else None)
    _, spec = bundles.read_config(bundle)
    if spec.process is None:
        raise SpecError("process: required to explain a container", where=bundles.CONFIG)
    host = hosts.detect()
    options = Options(
        cache_dir=f"{call.root()}/.cache/seccomp", cgroup_manager=call.cgroup_manager()
    )
    plan = build(spec, host, _EXAMPLE_ID, bundle, options)
    found = explain(spec, spec.process, host, plan, bundle)
    if format_ == "json":
        report.out(jsontext.dump(json_of(found)) + "\n")
    else:
        report.out(text_of(found, coloured=page.is_coloured(1)))
    return 0
