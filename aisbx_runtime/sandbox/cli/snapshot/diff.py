"""aisbx snapshot diff: what changed."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.snapshots.diff import diff
from aisbx_runtime.sandbox.snapshots.shelf import Shelf


@declared(
    "Print what changed from the image to SNAPSHOT, or from SNAPSHOT to OTHER.\n\n"
    "A line is `A` (added), `C` (changed, and what of it) or `D` (deleted, with all below)."
)
@click.argument("snapshot")
@click.argument("other", required=False, default="")
def command(call: Call, /, snapshot: str, other: str) -> None:
    """Print it by path."""
    store = call.store()
    shelf = Shelf(store)
    before = shelf.tree(shelf.id_of(snapshot)) if other else None
    after = shelf.tree(shelf.id_of(other or snapshot))
    found = diff(store, before, after)
    lines = [
        f"{each.change[0].upper()} {_shown(each.path)}"
        + (f" ({', '.join(each.what)})" if each.what else "")
        for each in found
    ]
    call.output().result(
        [
            {
                "change": each.change,
                "path": each.path,
                "kind": each.kind,
                "what": list(each.what),
            }
            for each in found
        ],
        "\n".join(lines),
    )


def _shown(path: str) -> str:
    # A name with a newline is one name.
    return path.replace("\\", "\\\\").replace("\n", "\\n")
