"""The whole explanation: every topic, then what could let the program out, the heaviest first."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci.explain import (
    devices,
    files,
    hooks,
    identity,
    isolation,
    limits,
    powers,
    syscalls,
)
from aisbx_runtime.oci.explain.case import case_of
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Danger, Section
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Plan
    from aisbx_runtime.oci.spec.model import Process, Spec

_TOPICS = (
    identity.program, identity.user, isolation.namespaces, isolation.network, powers.capabilities,
    identity.confinement, syscalls.syscalls, files.files, devices.devices, limits.limits,
    hooks.hooks,
)  # fmt: skip
_WATCHES = (identity, isolation, powers, syscalls, files, devices, limits, hooks)
_COLOURS = {"critical": page.RED, "high": page.RED, "medium": page.YELLOW, "low": ""}


@record
class Explanation:
    """What `explain` says of one bundle on one host."""

    sections: tuple[Section, ...]
    dangers: tuple[Danger, ...]
    ignored: tuple[str, ...]


def explain(spec: Spec, process: Process, host: Host, plan: Plan, bundle: str) -> Explanation:
    """Return the explanation of the sandbox that this plan makes."""
    case = case_of(spec, process, host, plan, bundle)
    dangers = [one for watch in _WATCHES for one in watch.dangers(case)]
    return Explanation(
        sections=tuple([topic(case) for topic in _TOPICS]),
        dangers=tuple(sorted(dangers, key=lambda one: -one.weight)),
        ignored=plan.warnings,
    )


def text_of(explanation: Explanation, *, coloured: bool) -> str:
    """Return the explanation for a person."""
    sheet = page.Page(coloured=coloured)
    for section in explanation.sections:
        sheet.title(section.title)
        for sentence in section.says:
            sheet.item(sentence)
    sheet.title("What could let it out, the heaviest first")
    for danger in explanation.dangers:
        word = danger.severity()
        sheet.item(f"{danger.what}: {danger.why}", mark=f"{word:<8}", colour=_COLOURS[word])
        sheet.paragraph(f"to do: {danger.remedy} <- {danger.origin}", indent=11)
    if not explanation.dangers:
        sheet.item("nothing that is known")
    for sentence in explanation.ignored:
        sheet.item(sentence, mark="ignored ")
    sheet.title(_summary(explanation))
    return sheet.text()


def _summary(explanation: Explanation) -> str:
    words = [one.severity() for one in explanation.dangers]
    counts = [f"{words.count(word)} {word}" for word in _COLOURS if word in words]
    return (
        f"{page.counted(len(words), 'warning')}: {page.listed(counts)}" if words else "0 warnings"
    )


def json_of(explanation: Explanation) -> dict[str, object]:
    """Return the explanation for machines: spec/explain.schema.json describes it."""
    return {
        **{
            section.name: {"says": list(section.says), **section.facts}
            for section in explanation.sections
        },
        "warnings": [
            {
                "code": one.code,
                "severity": one.severity(),
                "weight": one.weight,
                "what": one.what,
                "why": one.why,
                "remedy": one.remedy,
                "origin": one.origin,
            }
            for one in explanation.dangers
        ],
        "ignored": list(explanation.ignored),
    }
