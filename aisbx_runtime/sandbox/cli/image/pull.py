"""aisbx image pull: an image into the store, unpacked."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.image.registry import access, access_options
from aisbx_runtime.sandbox.images import layout, platforms
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.names import normalised


@declared(
    "Bring an image into the store and unpack it, where it is not there or has changed.\n\n"
    "REFERENCE is NAME[:TAG][@DIGEST] in a registry, or TRANSPORT:WHAT as skopeo(1) has it: "
    "docker://, oci:, oci-archive:, docker-archive:, dir:, containers-storage:, docker-daemon:."
)
@click.argument("reference")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", default="", help="Default: this machine.")
@access_options
def command(
    call: Call,
    /,
    reference: str,
    platform: str,
) -> None:
    """Pull, unpack, and print the digest."""
    store = call.store()
    output = call.output()
    how = access()
    wanted = platforms.parse(platform) if platform else None
    with output.progress() as progress:
        made = rootfs_of(store, reference, progress, platform=wanted, access=how, refresh=True)
    name = normalised(reference)
    output.result(
        {
            "name": name,
            "digest": made.digest,
            "source_digest": layout.find(store, name).annotations.get(layout.SOURCE, ""),
            "platform": str(made.config.platform),
            "rootfs": made.path,
            "rootfs_bytes": made.size_bytes,
            "files": made.files,
        },
        made.digest,
    )
