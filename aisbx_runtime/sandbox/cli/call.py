"""One call of `aisbx`: what every command takes and knows, and how a command is declared."""

from __future__ import annotations

import os

import click

from aisbx_runtime.sandbox.cli.output import Output
from aisbx_runtime.sandbox.runtime import NAME, Runtime
from aisbx_runtime.sandbox.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate, ParamSpec

    P = ParamSpec("P")


CHECKOUT = os.path.abspath(__file__).removesuffix("/aisbx_runtime/sandbox/cli/call.py")


class Call:
    """What the options say that stand before the command or after it.

    command: the words of the command, such as `image pull`; empty until it is known.
    library: where our modules, profiles and schemas are. runtime: the door.
    """

    def __init__(self, library: str = CHECKOUT, runtime: str = f"{CHECKOUT}/bin/{NAME}") -> None:
        self.store_path = ""
        self.json = False
        self.command = ""
        self.library = library
        self.runtime = Runtime(runtime)

    def store(self) -> Store:
        """Return the store that was asked for, made where it is missing."""
        return Store.open(self.store_path)

    def output(self) -> Output:
        """Return where the command's result and its progress go."""
        return Output(as_json=self.json)


def call_of(context: click.Context) -> Call:
    """Return the one Call of this run of the program."""
    return context.find_root().ensure_object(Call)


def _take_store(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    del parameter
    if value is not None:
        call_of(context).store_path = value


def _take_json(context: click.Context, parameter: click.Parameter, value: object) -> None:
    del parameter
    if value:
        call_of(context).json = True


def common_options() -> list[click.Parameter]:
    """Return the options that stand before the command or after it."""
    return [
        click.Option(
            ["--store"], metavar="DIR", expose_value=False, callback=_take_store,
            help="Where images, sandboxes and snapshots are (default: AISBX_STORE, else "
            "/var/lib/aisbx for root, ~/.local/share/aisbx for others).",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_take_json,
            help="Print JSON (spec/aisbx.schema.json); errors and progress as lines on stderr.",
        ),
    ]  # fmt: skip


def command(
    text: str, kind: type[click.Command] = click.Command, **settings: bool
) -> Callable[[Callable[Concatenate[Call, P], None]], click.Command]:
    """Declare a command; its function gets the Call and then its own parameters.

    Stands above click's own decorators (click.argument, click.option) of the function.
    text: its help. settings: of click's context, such as ignore_unknown_options.
    An exit code other than 0 without an error: raise click.exceptions.Exit(code).
    """

    def declare(function: Callable[Concatenate[Call, P], None]) -> click.Command:
        def called(*args: P.args, **kwargs: P.kwargs) -> None:
            context = click.get_current_context()
            call = call_of(context)
            root = context.find_root().command_path
            call.command = context.command_path.removeprefix(root).strip()
            function(call, *args, **kwargs)

        # Where click's decorators have left what they add.
        parameters: list[click.Parameter] = getattr(function, "__click_params__", [])
        return kind(
            function.__module__.rpartition(".")[2].replace("_", "-"),
            context_settings=dict(settings),
            callback=called,
            params=[*reversed(parameters), *common_options()],
            help=text,
        )

    return declare
