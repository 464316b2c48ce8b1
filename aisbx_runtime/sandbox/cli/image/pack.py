"""aisbx image pack: what a sandbox or a snapshot changed, on its image, as a new image."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.image.registry import access, access_options
from aisbx_runtime.sandbox.images.pack import base_of, pack
from aisbx_runtime.sandbox.images.push import check_place, names_a_place, push
from aisbx_runtime.sandbox.sources import changes


@declared(
    "Make an image of what a sandbox or a snapshot changed and the image below it.\n\n"
    "REFERENCE is a name for the store, or a place where it is pushed to as well: "
    "docker://REGISTRY/NAME, oci:DIRECTORY:TAG, containers-storage:NAME and what else skopeo(1) "
    "knows. The same content gives the same digest, wherever and whenever it is packed."
)
@click.argument("source", metavar="SANDBOX|SNAPSHOT")
@click.argument("reference")
@access_options
def command(
    call: Call,
    /,
    source: str,
    reference: str,
) -> None:
    """Pack, push where a place is named, and print the digest."""
    store = call.store()
    output = call.output()
    how = access()
    pushed = names_a_place(reference)
    if pushed:
        check_place(reference)
    with output.progress() as progress:
        with changes(store, call.runtime, source, progress) as found:
            base = base_of(store, found.digest, found.reference)
            made = pack(
                store,
                base,
                found.entries,
                found.open_content,
                reference,
                snapshot=found.snapshot,
                progress=progress,
            )
        if pushed:
            push(store, made.name, reference, access=how, progress=progress)
    if made.sockets:
        output.note(f"sockets, which no image can carry, were left out: {made.sockets}")
    output.result(
        {
            "name": made.name,
            "digest": made.digest,
            "base_name": found.reference,
            "base_digest": found.digest,
            "snapshot": found.snapshot,
            "layer_digest": made.layer.digest,
            "layer_bytes": made.layer.size,
            "sockets_left_out": made.sockets,
            "pushed": pushed,
        },
        made.digest,
    )
