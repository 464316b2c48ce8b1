"""aisbx snapshot rm: snapshots or names that are not needed any more."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.snapshots.remove import remove


@declared(
    "Remove snapshots: by a name, which leaves those that have another one; or by id, with all "
    "names.\n\nTheir files stay until `aisbx snapshot gc`."
)
@click.argument("snapshots", metavar="SNAPSHOT...", nargs=-1, required=True)
def command(call: Call, /, snapshots: tuple[str, ...]) -> None:
    """Remove them one by one; the first one that fails ends it."""
    store = call.store()
    removed = [remove(store, snapshot) for snapshot in snapshots]
    call.output().result({"removed": [each for each, whole in removed if whole]})
