"""Programs of others that some verbs need: criu."""

from __future__ import annotations

from aisbx_runtime.oci.criu import program
from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK, Check

_COMMAND = "apt-get install -t forky criu"


def checks() -> list[Check]:
    """Return the checks of this topic."""
    return [criu_check(program.find())]


def criu_check(found: program.Found) -> Check:
    """Return the check of what was found: checkpoint itself asks for the same."""
    if not found.path:
        return Check(
            "criu", "criu", MISSING, "not installed", "there is no checkpoint and no restore",
            command=_COMMAND,
        )  # fmt: skip
    if found.lacks:
        return Check(
            "criu", "criu", LIMITED, f"{found.path}: {found.lacks}",
            "there is no checkpoint and no restore",
            remedy=program.REMEDY,
            command=_COMMAND if found.is_old() else "",
        )  # fmt: skip
    return Check("criu", "criu", OK, f"{found.path}: version {found.version}")
