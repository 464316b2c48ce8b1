"""aisbx image inspect: all that is known of an image."""

from __future__ import annotations

import json

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.images import layout, look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.cli.output import Json


@declared("Print what is known of an image of the store, as JSON.")
@click.argument("reference")
def command(call: Call, /, reference: str) -> None:
    """Print it; what the image says of itself is data from a stranger."""
    image = look.image(call.store(), reference)
    made = image.rootfs
    value: dict[str, Json] = {
        "name": image.name,
        "digest": image.descriptor.digest,
        "source_digest": image.descriptor.annotations.get(layout.SOURCE, ""),
        "platform": str(image.config.platform),
        "created": image.created,
        "layers": [
            {"digest": blob.digest, "media_type": blob.media_type, "size_bytes": blob.size}
            for blob in image.manifest.layers
        ],
        "layers_bytes": image.size_bytes,
        "rootfs": made.path if made else None,
        "rootfs_bytes": made.size_bytes if made else None,
        "files": made.files if made else None,
        "annotations": image.manifest.annotations,
        "config": image.config.document.value,
    }
    call.output().result(value, json.dumps(value, indent=2))
