"""aisbx snapshot inspect: what a snapshot consists of."""

from __future__ import annotations

import json

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.snapshots import look
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.snapshots.tree_file import value_of


@declared("Print a snapshot as JSON.\n\nSNAPSHOT is a name, an id, or the beginning of one.")
@click.option("--entries", is_flag=True, help="Print each of its files as well.")
@click.argument("snapshot")
def command(call: Call, /, snapshot: str, *, entries: bool) -> None:
    """Print it; names of files are a stranger's."""
    found = look.one(Shelf(call.store()), snapshot)
    value = look.value_of(found)
    value["kinds"] = found.kinds
    if entries:
        value["entries"] = [value_of(entry) for entry in found.tree.entries]
    call.output().result(value, json.dumps(value, indent=2))
