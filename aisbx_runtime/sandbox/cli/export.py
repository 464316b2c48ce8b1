"""aisbx export: all files of a sandbox, a snapshot or an image as a tar archive."""

from __future__ import annotations

import sys

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.export import export, export_to_file
from aisbx_runtime.sandbox.sources import tree


@declared(
    "Write all files that a sandbox, a snapshot or an image has as a tar archive.\n\n"
    "Without --output it goes to stdout."
)
@click.option("--output", "-o", "path", metavar="FILE", default="", help="Where it is written.")
@click.argument("source", metavar="SANDBOX|SNAPSHOT|IMAGE")
def command(call: Call, /, path: str, source: str) -> None:
    """Export to a file that is there whole or not at all, or to stdout."""
    output = call.output()
    if not path and sys.stdout.isatty():
        raise InputError(
            "an archive is nothing for a terminal", hint="write it to a file by --output"
        )
    with (
        output.progress() as progress,
        tree(call.store(), call.runtime, source, progress) as (entries, open_content),
    ):
        if path:
            made = export_to_file(entries, open_content, path, progress)
        else:
            made = export(entries, open_content, sys.stdout.buffer, progress)
    if made.sockets:
        output.note(f"sockets, which no archive can carry, were left out: {made.sockets}")
    if path:
        output.result({"file": path, "bytes": made.size_bytes, "sockets_left_out": made.sockets})
