"""aisbx snapshot restore: a sandbox made from a snapshot."""

from __future__ import annotations

import click

from aisbx_runtime.sandbox import run
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.shape import click_options, request_of
from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.images.base import base_on
from aisbx_runtime.sandbox.images.unpack import unpack
from aisbx_runtime.sandbox.options import RUN
from aisbx_runtime.sandbox.snapshots.restore import Restoration, replaceable, replaced
from aisbx_runtime.sandbox.snapshots.shelf import Shelf


class _OptionsAfterTheName(click.Command):
    """`restore NAME --name NEW COMMAND -x`: all after the first word of COMMAND is its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move the options that stand after the snapshot before it."""
        rest = self._words(ctx, args)
        if len(rest) > 1 and rest[1].startswith("-"):
            snapshot, *following = rest
            words = self._words(ctx, following)
            options = following[: len(following) - len(words)]
            args = [*args[: len(args) - len(rest)], *options, snapshot, *words]
        return super().parse_args(ctx, args)

    def _words(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [one for one in self.params if isinstance(one, click.Option)]
        return click.Command("", params=list(options)).make_parser(ctx).parse_args(list(args))[1]


@declared(
    "Run a program in a sandbox with the files of a snapshot, as `aisbx run` does on an image.\n\n"
    "The files are the snapshot's; everything else is what a new sandbox gets: the image's "
    "program or COMMAND, today's defaults, the options of this call.",
    kind=_OptionsAfterTheName,
    allow_interspersed_args=False,
)
@click_options(RUN)
@click.option(
    "--in-place",
    metavar="SANDBOX",
    default="",
    help="Take the place and name of this sandbox, whose own changes are lost; it is kept.",
)
@click.option("--force", is_flag=True, help="With --in-place: end the sandbox when it runs.")
@click.argument("snapshot")
@click.argument("words", nargs=-1, metavar="[--] [COMMAND]...", type=click.UNPROCESSED)
def command(
    call: Call,
    /,
    snapshot: str,
    words: tuple[str, ...],
    *,
    in_place: str,
    force: bool,
    **given: object,
) -> None:
    """Run it in front, or detached."""
    if in_place and given["name"] is not None:
        raise InputError("--in-place keeps the name, and --name gives one")
    if force and not in_place:
        raise InputError("--force is for --in-place")
    store, output = call.store(), call.output()
    shelf = Shelf(store)
    snapshot_id = shelf.id_of(snapshot)
    tree = shelf.tree(snapshot_id)
    if in_place:
        run.name_of(in_place)
        replaceable(store, call.runtime, in_place, force=force)
        # What was kept stays kept.
        given["name"], given["keep"] = in_place, True
    request = request_of(tree.base.reference, words, given, RUN)
    with output.progress() as progress:
        rootfs = unpack(store, tree.base.digest, progress)
    base = base_on(store, call.library, tree.base.reference, rootfs, output.note)
    restoration = Restoration(shelf, call.runtime, tree, in_place)
    users = run.users_of(store.path, call.runtime, request)
    if users is not None and users.lacks:
        raise HostError(
            "a snapshot can only be restored onto an overlay", where=store.path, why=users.lacks
        )
    code = run.start(
        store.path, call.runtime, base, request, users,
        refill=restoration.refill, snapshot=snapshot_id,
    )  # fmt: skip
    if in_place:
        replaced(store, in_place)
    if code:
        raise click.exceptions.Exit(code)
