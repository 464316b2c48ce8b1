"""aisbx init: a directory or an archive becomes an image that sandboxes start on."""

from __future__ import annotations

import os

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.import_ import import_archive, import_directory


@declared(
    "Make an image of a directory or of a tar archive (plain, gzip, zstd, xz or bzip2).\n\n"
    "NAME is what it is called; without one the name of the file, up to its first dot. "
    "An archive is checked as the layers of images are."
)
@click.option("--rootfs", metavar="DIR|ARCHIVE", required=True, help="What is to be `/`.")
@click.argument("name", required=False, default="")
def command(call: Call, /, rootfs: str, name: str) -> None:
    """Import, unpack, and print the digest."""
    output = call.output()
    if not os.path.exists(rootfs):
        raise InputError("there is no such directory or archive", where=rootfs)
    name = name or os.path.basename(os.path.abspath(rootfs)).partition(".")[0]
    bring = import_directory if os.path.isdir(rootfs) else import_archive
    with output.progress() as progress:
        made = bring(call.store(), rootfs, name, progress=progress)
    if made.sockets:
        output.note(f"sockets, which no image can carry, were left out: {made.sockets}")
    output.result(
        {
            "name": made.name,
            "digest": made.digest,
            "layer_digest": made.layer.digest,
            "layer_bytes": made.layer.size,
            "sockets_left_out": made.sockets,
        },
        made.digest,
    )
