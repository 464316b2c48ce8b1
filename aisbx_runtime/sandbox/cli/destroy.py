"""aisbx destroy: end sandboxes and remove what they changed."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared


@declared("End sandboxes, and remove them with all that they changed.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def command(call: Call, /, names: tuple[str, ...]) -> None:
    """Destroy them one by one; the first one that fails ends it."""
    store = call.store()
    for name in names:
        containers.destroy(store, call.runtime, name)
    call.output().result({"destroyed": list(names)})
