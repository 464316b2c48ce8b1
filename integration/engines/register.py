"""Our verb `register`, in a view of the machine where it may write."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from integration import host
from integration.runtime import PATH, Result, call

if TYPE_CHECKING:
    from collections.abc import Iterator


class Register:
    """`aisbx-runtime register ENGINE`, called as root or as somebody else."""

    def __init__(self, program: str, environment: dict[str, str], prefix: list[str]) -> None:
        self.program = program
        self.environment = environment
        self.prefix = prefix

    def __call__(self, engine: str, *flags: str) -> Result:
        words = [*self.prefix, self.program, "register", engine, *flags]
        return call(words, env=self.environment, timeout=120)

    def document(self, engine: str, *flags: str) -> dict[str, Any]:
        """Return what it says as JSON; it must succeed."""
        found: dict[str, Any] = json.loads(self(engine, "--format", "json", *flags).ok().out)
        return found


def of_ours(program: str, environment: dict[str, str], prefix: list[str]) -> Register:
    """Return the verb; skip where another runtime is tested, which has none."""
    if call([program, "register", "--help"]).code:
        pytest.skip(f"register is a verb of our own, not of {program}")
    return Register(program, {"PATH": PATH, **environment}, prefix)


@contextlib.contextmanager
def private(directory: str) -> Iterator[str]:
    """Put an empty directory in the place of one of the machine, for this session alone."""
    is_made = not os.path.isdir(directory)
    if is_made:
        os.mkdir(directory)
    host.mount("tmpfs", directory, "tmpfs")
    try:
        yield directory
    finally:
        host.umount(directory)
        if is_made:
            os.rmdir(directory)


def be_writable(directory: str, scratch: str) -> None:
    """Let the session write to a directory of the machine, which stays as it is."""
    top = f"{scratch}/overlay{directory}"
    for name in ("upper", "work"):
        os.makedirs(f"{top}/{name}")
    data = f"lowerdir={directory},upperdir={top}/upper,workdir={top}/work"
    host.mount("overlay", directory, "overlay", data=data)
