"""The options of sandboxes.options as click's, for the commands that make sandboxes."""

from __future__ import annotations

from typing import cast

import click

from aisbx_runtime.sandbox.options import FLAG, LIST, TEXT, Option, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec

    from aisbx_runtime.sandbox.options import Value

    P = ParamSpec("P")


def click_options(options: tuple[Option, ...]) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Return a decorator that declares the options of a table, in its order."""

    def declare(function: Callable[P, None]) -> Callable[P, None]:
        for option in reversed(options):
            names = [f"--{option.name}", *([f"-{option.letter}"] if option.letter else [])]
            function = click.option(
                *names,
                is_flag=option.kind == FLAG,
                multiple=option.kind == LIST,
                metavar=option.metavar or None,
                type=None if option.kind == FLAG else str,
                default=False if option.kind == FLAG else None,
                help=option.help,
            )(function)
        return function

    return declare


def request_of(
    reference: str, command: tuple[str, ...], given: dict[str, object], options: tuple[Option, ...]
) -> Request:
    """Return what click made of the words, as a Request."""
    values: dict[str, Value] = {}
    for option in options:
        value = given[option.key()]
        if option.kind == FLAG:
            values[option.key()] = bool(value)
        elif option.kind == TEXT:
            values[option.key()] = value if isinstance(value, str) else None
        elif option.kind == LIST:
            texts = cast("tuple[str, ...]", value)
            values[option.key()] = texts
    words = list(command)
    return Request(reference, words[1:] if words[:1] == ["--"] else words, values)
