"""plan: what create would do, step by step, with the place in config.json that asks for it."""

from __future__ import annotations

from aisbx_runtime.oci import jsontext, report
from aisbx_runtime.oci.lifecycle.foretell import foretold, format_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.plan.step import Plan


def main(call: Call) -> int:
    """Print the plan. Needs no root, changes nothing."""
    format_ = format_of(call)
    *_, plan = foretold(call)
    report.out(text_of(plan) if format_ == "text" else jsontext.dump(json_of(plan)) + "\n")
    return 0


def text_of(plan: Plan) -> str:
    """Return the plan for people: a line a step, under the phase and who carries it out."""
    lines: list[str] = []
    last = ""
    for number, phase, step in plan.numbered():
        if phase.name != last:
            lines.append(f"{phase.name} ({phase.side})")
            last = phase.name
        origin = f"  <- {step.origin}" if step.origin else ""
        lines.append(report.printable(f"{number:>4}  {step.describe()}{origin}"))
    lines.extend([report.printable(f"warning: {sentence}") for sentence in plan.warnings])
    return "\n".join(lines) + "\n"


def json_of(plan: Plan) -> dict[str, object]:
    """Return the plan for machines: spec/plan.schema.json describes it."""
    return {
        "steps": [
            {
                "number": number,
                "phase": phase.name,
                "side": phase.side,
                "step": type(step).__name__,
                "does": report.printable(step.describe()),
                "origin": report.printable(step.origin),
            }
            for number, phase, step in plan.numbered()
        ],
        "cgroups": list(plan.cgroups),
        "warnings": list(plan.warnings),
    }
