"""aisbx run: what `start` has not carried out, because it is a first time or an unusual way."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox import run
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.shape import click_options, request_of
from aisbx_runtime.sandbox.images.base import base_of
from aisbx_runtime.sandbox.options import RUN


@declared(
    "Run a program in a new sandbox on an image, and remove the sandbox when it ends.\n\n"
    "IMAGE is pulled when it is not here. The program is what the image names, or COMMAND. "
    "The exit code is the program's. With --detach the name of the sandbox is printed.",
    allow_interspersed_args=False,
)
@click_options(RUN)
@click.argument("reference", metavar="IMAGE")
@click.argument("words", nargs=-1, metavar="[--] [COMMAND]...", type=click.UNPROCESSED)
def command(call: Call, /, reference: str, words: tuple[str, ...], **given: object) -> None:
    """Run a sandbox in front, or detached."""
    given["name"] = name = run.name_of(request_of(reference, words, given, RUN).text("name"))
    request = request_of(reference, words, given, RUN)
    store = call.store()
    with call.output().progress() as progress:
        base = base_of(store, call.library, reference, progress, call.output().note)
    users = run.users_of(store.path, call.runtime, request)
    if users is not None and users.lacks:
        call.output().note(f"the image is copied, because {users.lacks}")
    code = run.start(store.path, call.runtime, base, request, users)
    if request.flag("detach"):
        call.output().result({"name": name}, name)
    if code:
        raise click.exceptions.Exit(code)
