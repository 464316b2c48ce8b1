"""aisbx snapshot create: keep what a sandbox has changed by now."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.snapshots import create
from aisbx_runtime.sandbox.snapshots.container import container_of
from aisbx_runtime.sandbox.snapshots.control import Control


@declared(
    "Keep the files that a sandbox has changed by now.\n\n"
    "SANDBOX is a name of `aisbx ls`, or the path of a bundle. One that runs stands still for the "
    "moment of the copy. Volumes, other mounts and processes are no part of it."
)
@click.option("--name", metavar="NAME", default="", help="Name of the snapshot; it moves here.")
@click.argument("sandbox")
def command(call: Call, /, sandbox: str, name: str) -> None:
    """Take it and print its id."""
    store, output = call.store(), call.output()
    container = container_of(containers.named(store, sandbox))
    with output.progress() as progress:
        taken = create.create(
            store, container, Control(call.runtime, container), name=name, progress=progress
        )
    if taken.moved_from:
        output.note(f"{name} meant {taken.moved_from} before; that snapshot is still there")
    output.result(
        {
            "id": taken.id,
            "name": name or None,
            "entries": taken.entries,
            "read_bytes": taken.read_bytes,
        },
        taken.id,
    )
