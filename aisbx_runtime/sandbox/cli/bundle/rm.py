"""aisbx bundle rm: a bundle of `bundle create` goes, and what it changed with it."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox import bundles
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared


@declared("Remove bundles that `bundle create` made, with all that ran in them has changed.")
@click.argument("directories", metavar="DIR...", nargs=-1, required=True)
def command(call: Call, /, directories: tuple[str, ...]) -> None:
    """Remove them one by one; the first one that fails ends it."""
    store = call.store()
    for directory in directories:
        bundles.remove(store, call.runtime, directory)
    call.output().result({"removed": list(directories)})
