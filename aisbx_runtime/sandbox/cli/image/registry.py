"""Options of every command that reaches a registry; they go to skopeo, by `access`."""

from __future__ import annotations

import sys

import click

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.pull import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec

    P = ParamSpec("P")

_KEY = "aisbx.registry"


def _take(context: click.Context, parameter: click.Parameter, value: object) -> None:
    given: dict[str, object] = context.meta.setdefault(_KEY, {})
    given[parameter.name or ""] = value


OPTIONS = (
    click.option(
        "--authfile", metavar="FILE", default="", callback=_take, expose_value=False,
        help="Where passwords are, as podman login writes it.",
    ),
    click.option(
        "--user", metavar="NAME[:PASSWORD]", default="", callback=_take, expose_value=False,
        help="Log in by this name; a password that is left out is asked for.",
    ),
    click.option(
        "--password-stdin", is_flag=True, callback=_take, expose_value=False,
        help="Read the password from stdin.",
    ),
    click.option(
        "--cert-dir", metavar="DIR", default="", callback=_take, expose_value=False,
        help="Certificates of the registry (*.crt) and for it (*.cert, *.key).",
    ),
    click.option(
        "--tls-verify/--no-tls-verify", default=None, callback=_take, expose_value=False,
        help="Whether the registry has to prove who it is (default: as registries.conf says).",
    ),
)  # fmt: skip


def access_options(function: Callable[P, None]) -> Callable[P, None]:
    """Declare the options, in their order."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def access() -> Access:
    """Return what a service takes; the password is asked for where it is missing."""
    given: dict[str, object] = click.get_current_context().meta[_KEY]
    user, tls_verify = str(given["user"]), given["tls_verify"]
    if given["password_stdin"] and (not user or ":" in user):
        raise InputError("--password-stdin wants --user with a name alone", exit_code=2)
    if user and ":" not in user:
        if given["password_stdin"]:
            password = sys.stdin.readline().rstrip("\n")
        else:
            password = str(click.prompt("Password", hide_input=True, err=True))
        user = f"{user}:{password}"
    return Access(
        str(given["authfile"]),
        user,
        str(given["cert_dir"]),
        None if tls_verify is None else bool(tls_verify),
    )
