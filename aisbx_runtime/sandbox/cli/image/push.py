"""aisbx image push: an image of the store to a registry, or wherever skopeo brings it."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.image.registry import access, access_options
from aisbx_runtime.sandbox.images.names import normalised
from aisbx_runtime.sandbox.images.push import push


@declared(
    "Copy an image of the store to another place.\n\n"
    "PLACE is docker://REGISTRY/NAME[:TAG], oci:DIRECTORY:TAG, containers-storage:NAME, or what "
    "else skopeo(1) knows. Without one it is what the image is called."
)
@click.argument("name")
@click.argument("place", required=False, default="")
@access_options
def command(
    call: Call,
    /,
    name: str,
    place: str,
) -> None:
    """Push, and print where to."""
    output = call.output()
    how = access()
    with output.progress() as progress:
        made = push(call.store(), name, place or normalised(name), access=how, progress=progress)
    output.result({"name": made.name, "place": made.target, "digest": made.digest}, made.target)
