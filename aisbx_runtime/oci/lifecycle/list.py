"""list: the containers below the root, as a table or as JSON."""

from __future__ import annotations

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import jsontext, report
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import StateError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call

_COLUMNS = (
    ("ID", "id"), ("PID", "pid"), ("STATUS", "status"), ("BUNDLE", "bundle"),
    ("CREATED", "created"), ("OWNER", "owner"),
)  # fmt: skip


def main(call: Call) -> int:
    """Print every container."""
    format_ = call.values.text("format") or "table"
    if format_ not in {"table", "json"}:
        raise UsageError(f"--format {format_}: no such format", hint="write table or json")
    states = _states(call.root())
    if call.values.flag("quiet"):
        report.out("".join([f"{state['id']}\n" for state in states]))
    elif format_ == "json":
        report.out(jsontext.dump(states) + "\n")
    else:
        rows = [[str(state[key]) for _, key in _COLUMNS] for state in states]
        report.out(table([[title for title, _ in _COLUMNS], *rows]))
    return 0


def _states(root: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for container in containers.every(root):
        try:
            state = containers.state_of(container, container.facts())
        except StateError:
            # Damaged: shown with what can be told, so that somebody deletes it.
            empty = containers.Facts({})
            state = containers.state_of(container, empty, status=containers.STOPPED)
        found.append(state)
    if found:
        owner = _user()
        for state in found:
            state["owner"] = owner
    return found


def _user() -> str:
    """Return our own name: nobody else's containers are believed, see `container`."""
    import pwd

    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def table(rows: list[list[str]]) -> str:
    """Return rows as columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"
