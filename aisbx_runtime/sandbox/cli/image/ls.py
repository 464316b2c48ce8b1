"""aisbx image ls: the images of the store."""

from __future__ import annotations

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.output import readable
from aisbx_runtime.sandbox.images import look


@declared("List the images of the store.")
def command(call: Call, /) -> None:
    """Print them by name; say which cannot be read."""
    output = call.output()
    found, broken = look.images(call.store())
    output.table(
        [
            {
                "name": image.name,
                "digest": image.descriptor.digest,
                "platform": str(image.config.platform),
                "created": image.created,
                "layers_bytes": image.size_bytes,
                "rootfs_bytes": image.rootfs.size_bytes if image.rootfs else None,
            }
            for image in found
        ],
        ("name", "digest", "platform", "layers", "unpacked"),
        [
            (
                image.name.removeprefix("docker://"),
                image.descriptor.digest.removeprefix("sha256:")[:12],
                str(image.config.platform),
                readable(image.size_bytes),
                readable(image.rootfs.size_bytes) if image.rootfs else "-",
            )
            for image in found
        ],
    )
    for name, error in broken.items():
        output.note(f"{name} cannot be read: {error}")
