"""aisbx exec: one more program in a sandbox that runs."""

from __future__ import annotations

import os

import click

from aisbx_runtime.sandbox import containers, run
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.cli.shape import click_options
from aisbx_runtime.sandbox.options import SHAPE
from aisbx_runtime.sandbox.users import user_of

_TAKEN = tuple(option for option in SHAPE if option.name in {"env", "user", "workdir"})


@declared(
    "Run one more program in a sandbox that runs. The exit code is the program's.",
    allow_interspersed_args=False,
)
@click.option("--tty", "-t", is_flag=True, help="Give it a terminal (default: where we have one).")
@click_options(_TAKEN)
@click.argument("sandbox", metavar="NAME")
@click.argument("words", nargs=-1, required=True, metavar="[--] COMMAND...", type=click.UNPROCESSED)
def command(
    call: Call,
    /,
    sandbox: str,
    words: tuple[str, ...],
    *,
    tty: bool,
    env: tuple[str, ...],
    user: str | None,
    workdir: str | None,
) -> None:
    """Run it in front."""
    store = call.store()
    found = containers.named(store, sandbox)
    containers.require_running(call.runtime, found)
    flags = [f"--env={_with_value(entry)}" for entry in env]
    if tty or (os.isatty(0) and os.isatty(1)):
        flags.append("--tty")
    if workdir is not None:
        flags.append(f"--cwd={workdir}")
    if user is not None:
        who = user_of(store.place("rootfs", found.key, "rootfs"), user)
        flags.append(f"--user={who['uid']}:{who['gid']}")
        more = who.get("additionalGids")
        flags += [f"--additional-gids={gid}" for gid in more] if isinstance(more, list) else []
    args = words[1:] if words[0] == "--" else words
    code = run.wait_for(call.runtime, ["exec", *flags, found.name, *args])
    if code:
        raise click.exceptions.Exit(code if code > 0 else 128 - code)


def _with_value(entry: str) -> str:
    return entry if "=" in entry else f"{entry}={os.environ.get(entry, '')}"
