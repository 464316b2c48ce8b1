"""register: tell an engine of this runtime, or take that back, and prove it with a container."""

from __future__ import annotations

import sys

from aisbx_runtime.oci import jsontext, report
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, UsageError
from aisbx_runtime.oci.register.change import apply
from aisbx_runtime.oci.register.check import FAILED, LEFT_OUT, Outcome, check
from aisbx_runtime.oci.register.engine import registration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.register.change import Change, Registration


def main(call: Call) -> int:
    """Write, or remove, the engine's files; print what was done. Exit 1 if the check fails."""
    format_ = call.values.text("format") or "text"
    if format_ not in {"text", "json"}:
        raise UsageError(f"--format {format_}: no such format", hint="write text or json")
    removes, prints = call.values.flag("remove"), call.values.flag("print")
    if removes and prints:
        raise UsageError("--print shows what would be written", hint="leave --remove out")
    runtime = own_path()
    found = registration(call.values.words[0], runtime, library(), remove=removes)
    if prints:
        outcome = Outcome(LEFT_OUT, "nothing was written")
        text = printed(found)
    else:
        # Everybody's engines read what root writes.
        os.umask(0o022)
        for change in found.changes:
            apply(change)
        outcome = _outcome(call, found, runtime, removes=removes)
        text = _told(found, runtime, outcome, removes=removes)
    if format_ == "json":
        text = jsontext.dump(document(found, runtime, outcome)) + "\n"
    report.out(text)
    if outcome.state == FAILED:
        raise Failure(
            f"{found.engine} is registered with, but ran no container with it",
            why=outcome.why,
            hint=f"aisbx-runtime register {found.engine} --remove takes it back",
        )
    return 0


def own_path() -> str:
    """Return the absolute path of the program that was called."""
    return os.path.abspath(sys.argv[0])


def library() -> str:
    """Return the directory of the package `aisbx_runtime`."""
    path = __file__
    for _ in range(4):
        path = os.path.dirname(path)
    return path


def _outcome(call: Call, found: Registration, runtime: str, *, removes: bool) -> Outcome:
    if removes:
        return Outcome(LEFT_OUT, "nothing is registered")
    if call.values.flag("no-check"):
        return Outcome(LEFT_OUT, "--no-check")
    return check(found.engine, runtime)


def _files(found: Registration) -> list[Change]:
    return [change for change in found.changes if not change.is_backup]


def printed(found: Registration) -> str:
    """Return the files as they would be written, each below its path if they are several."""
    files = [change for change in _files(found) if change.after is not None]
    texts = [(change.after or b"").decode() for change in files]
    if len(files) > 1:
        texts = [f"# ---- {change.path}\n{text}" for change, text in zip(files, texts, strict=True)]
    return "\n".join([*texts, *found.left])


def _told(found: Registration, runtime: str, outcome: Outcome, *, removes: bool) -> str:
    lines = [f"{change.path}: {change.word()}" for change in found.changes]
    lines.extend(found.left)
    is_changed = any(change.before != change.after for change in found.changes)
    if found.restart and is_changed:
        lines.append(f"then: {found.restart}")
    if not removes:
        lines.append(f"runtime: {runtime}")
        lines.append(f"use: {found.use}")
        why = f": {outcome.why}" if outcome.why and outcome.state == LEFT_OUT else ""
        lines.append(f"check: {outcome.state}{why}")
    return "".join([f"{report.printable(one)}\n" if "\n" not in one else one for one in lines])


def document(found: Registration, runtime: str, outcome: Outcome) -> dict[str, object]:
    """Return the same for machines: spec/register.schema.json describes it."""
    return {
        "engine": found.engine,
        "runtime": runtime,
        "files": [
            {
                "path": change.path,
                "state": change.word(),
                "text": None if change.after is None else change.after.decode(errors="replace"),
            }
            for change in found.changes
        ],
        "restart": found.restart,
        "use": found.use,
        "left": list(found.left),
        "check": {"state": outcome.state, "why": outcome.why},
    }
