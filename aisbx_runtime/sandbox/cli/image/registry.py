"""Options of every command that reaches a registry; they go to skopeo."""

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

OPTIONS = (
    click.option(
        "--authfile", metavar="FILE", default="",
        help="Where passwords are, as podman login writes it.",
    ),
    click.option(
        "--user", metavar="NAME[:PASSWORD]", default="",
        help="Log in by this name; a password that is left out is asked for.",
    ),
    click.option("--password-stdin", is_flag=True, help="Read the password from stdin."),
    click.option(
        "--cert-dir", metavar="DIR", default="",
        help="Certificates of the registry (*.crt) and for it (*.cert, *.key).",
    ),
    click.option(
        "--tls-verify/--no-tls-verify", default=None,
        help="Whether the registry has to prove who it is (default: as registries.conf says).",
    ),
)  # fmt: skip


def access_options(function: Callable[P, None]) -> Callable[P, None]:
    """Declare the options, in their order."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def access(
    authfile: str, user: str, cert_dir: str, *, password_stdin: bool, tls_verify: bool | None
) -> Access:
    """Return what a service takes; the password is asked for where it is missing."""
    if password_stdin and (not user or ":" in user):
        raise InputError("--password-stdin wants --user with a name alone", exit_code=2)
    if user and ":" not in user:
        if password_stdin:
            password = sys.stdin.readline().rstrip("\n")
        else:
            password = str(click.prompt("Password", hide_input=True, err=True))
        user = f"{user}:{password}"
    return Access(authfile, user, cert_dir, tls_verify)
