"""aisbx logs: what a detached sandbox has written."""

from __future__ import annotations

import os
import sys
import time

import click

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.cli.call import Call
from aisbx_runtime.sandbox.cli.call import command as declared
from aisbx_runtime.sandbox.errors import NotFoundError

_CHUNK_BYTES = 1 << 16
_PAUSE_S = 0.2


@declared(
    "Print what a detached sandbox has written to stdout and stderr, byte for byte.\n\n"
    "It is the sandbox's own output: a terminal may be told odd things by it."
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the sandbox has ended.")
@click.argument("sandbox", metavar="NAME")
def command(call: Call, /, sandbox: str, *, follow: bool) -> None:
    """Copy BUNDLE/log to stdout."""
    found = containers.named(call.store(), sandbox)
    try:
        fd = os.open(f"{found.path}/log", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(
            f"the sandbox {found.name} has no log",
            where=found.path,
            hint="only `aisbx run --detach` writes one",
        ) from None
    with open(fd, "rb", buffering=0) as file:
        while True:
            # Asked before: what was written until it ended is still printed.
            runs = follow and containers.status_of(call.runtime, found).status in containers.RUNNING
            while chunk := file.read(_CHUNK_BYTES):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            if not runs:
                return
            time.sleep(_PAUSE_S)
