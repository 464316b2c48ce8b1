"""aisbx bundle create: a bundle for any OCI runtime."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox import bundles
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.shape import click_options, request_of
from aisbx_runtime.sandbox.images.base import base_of
from aisbx_runtime.sandbox.options import SHAPE
from aisbx_runtime.sandbox.run import users_of


@declared(
    "Make a bundle on a cached image in DIR, which any OCI runtime can run.\n\n"
    "The program is what the image names, or COMMAND. The image stays as long as the bundle is "
    "there; `aisbx bundle rm` removes it.",
    allow_interspersed_args=False,
)
@click_options(SHAPE)
@click.argument("reference", metavar="IMAGE")
@click.argument("directory", metavar="DIR")
@click.argument("words", nargs=-1, metavar="[--] [COMMAND]...", type=click.UNPROCESSED)
def command(
    call: Call, /, reference: str, directory: str, words: tuple[str, ...], **given: object
) -> None:
    """Make it whole or not at all."""
    request = request_of(reference, words, given, SHAPE)
    store = call.store()
    with call.output().progress() as progress:
        base = base_of(store, call.library, reference, progress, call.output().note)
    users = users_of(store.path, call.runtime, request)
    if users is not None and users.lacks:
        call.output().note(f"the image is copied, because {users.lacks}")
    path = bundles.create(store, base, request, directory, users)
    image = {"reference": base.reference, "digest": base.digest}
    call.output().result({"bundle": path, "image": image})
