"""validate: every error of a config.json, by the vendored schemas and by the rules of the spec."""

from __future__ import annotations

from aisbx_runtime.oci import report
from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.spec import explain, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call


def main(call: Call) -> int:
    """Print each error on a line of its own; exit 1 when there is one."""
    bundle = bundles.directory_of(call.values.words[0] if call.values.words else None)
    data = bundles.read_file(f"{bundle}/{bundles.CONFIG}", bundles.CONFIG)
    errors = errors_of(data)
    for error in errors:
        hint = f"; {error.hint}" if error.hint else ""
        report.out(f"{error.where}: {error.what}{hint}\n")
    if not errors:
        report.out(f"{bundle}/{bundles.CONFIG}: valid\n")
    return 1 if errors else 0


def errors_of(data: bytes) -> list[SpecError]:
    """Return every error: what the schemas say, else the rules between fields."""
    try:
        text = parse.text_of(data, bundles.CONFIG)
        found = list(explain.explain(text, bundles.CONFIG))
        if not found:
            parse.spec_of(text, bundles.CONFIG)
    except SpecError as error:
        return [error]
    return found
