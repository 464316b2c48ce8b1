"""All checks by topic, whether containers can run, and both forms of saying it."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.host import cgroup_hierarchies, own_cgroups, read_text
from aisbx_runtime.oci.probe import cgroups, confinement, kernel, mounts, tools, users
from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.probe.check import Check

_COLOURS = {OK: page.GREEN, LIMITED: page.YELLOW, MISSING: page.RED}


@record
class Diagnosis:
    """What the doctor found."""

    host: str
    topics: tuple[tuple[str, tuple[Check, ...]], ...]

    def every(self) -> list[Check]:
        """Return the checks of all topics."""
        return [check for _, checks in self.topics for check in checks]

    def can_run(self) -> bool:
        """Tell whether containers can run at all."""
        return not any(one.needed and one.state == MISSING for one in self.every())


def diagnose() -> Diagnosis:
    """Try everything. Changes nothing."""
    facts = os.uname()
    hierarchies = cgroup_hierarchies(read_text("/proc/self/mountinfo"), own_cgroups())
    return Diagnosis(
        host=f"Linux {facts.release} on {facts.machine}, uid {os.geteuid()}",
        topics=(
            ("Kernel", tuple(kernel.checks())),
            ("Rights and namespaces", tuple(users.checks())),
            ("Limits", tuple(cgroups.checks(hierarchies))),
            ("Confinement", tuple(confinement.checks())),
            ("File systems", tuple(mounts.checks())),
            ("Programs", tuple(tools.checks())),
        ),
    )


def text_of(diagnosis: Diagnosis, *, coloured: bool) -> str:
    """Return the diagnosis for a person."""
    sheet = page.Page(coloured=coloured)
    sheet.title(diagnosis.host)
    for topic, checks in diagnosis.topics:
        sheet.title(topic)
        for one in checks:
            words = f"{one.title}: {one.found}"
            sheet.item(words, mark=f"{one.state:<8}", colour=_COLOURS[one.state])
            if one.means:
                sheet.paragraph(one.means, indent=11)
            if one.remedy:
                sheet.paragraph(f"remedy: {one.remedy}", indent=11)
            if one.command:
                sheet.paragraph("remedy, as root:", indent=11)
                sheet.command(one.command, indent=13)
    states = [one.state for one in diagnosis.every()]
    counts = ", ".join([f"{states.count(state)} {state}" for state in _COLOURS])
    verdict = "Containers can run here" if diagnosis.can_run() else "Containers cannot run here"
    sheet.title(f"{verdict}: {counts}")
    lost = [one.title for one in diagnosis.every() if one.needed and one.state == MISSING]
    if lost:
        sheet.paragraph(f"because of: {', '.join(lost)}")
    return sheet.text()


def json_of(diagnosis: Diagnosis) -> dict[str, object]:
    """Return the diagnosis for machines: spec/doctor.schema.json describes it."""
    return {
        "host": diagnosis.host,
        "can_run": diagnosis.can_run(),
        "checks": [
            {
                "topic": topic,
                "name": one.name,
                "title": one.title,
                "state": one.state,
                "found": one.found,
                "means": one.means,
                "remedy": one.remedy,
                "command": one.command,
                "needed": one.needed,
            }
            for topic, checks in diagnosis.topics
            for one in checks
        ],
    }
