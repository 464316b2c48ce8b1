"""aisbx image rm: names of images go, and what nobody uses then."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.image.gc import value_of
from aisbx_runtime.sandbox.cli.image.holders import holders
from aisbx_runtime.sandbox.images import gc, look
from aisbx_runtime.sandbox.images.names import normalised


@declared(
    "Remove images from the store.\n\n"
    "What a sandbox, a snapshot or another name still uses stays until that is gone."
)
@click.argument("references", metavar="REFERENCE...", nargs=-1, required=True)
def command(call: Call, /, references: tuple[str, ...]) -> None:
    """Take the names away, then collect."""
    store = call.store()
    output = call.output()
    removed: list[str] = []
    kept: dict[str, list[str]] = {}
    for reference in references:
        name = normalised(reference)
        users = look.forget(store, reference, holders())
        removed.append(name)
        if users:
            kept[name] = users
    with output.progress() as progress:
        found = gc.collect(store, progress, holders())
    for name, users in kept.items():
        output.note(f"{name} is used by {', '.join(users)}: its files stay until that is gone")
    output.result({"removed": removed, "in_use": kept, "collected": value_of(found)})
