"""`os` for the runtime: the C module `posix` with the few things that `os` adds to it.

`import os` makes 25 abstract base classes for its environment, 1.5 ms of every start. The names
here are those of `os` and mean the same, which is why modules import this one as `os`.
"""

from __future__ import annotations

import posix
from posix import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]
from posix import _exit  # pyright: ignore[reportPrivateUsage]

from aisbx_runtime.oci import ospath as path

__all__ = ["SEEK_SET", "_exit", "environment", "fsdecode", "fsencode", "makedirs", "path"]

SEEK_SET = 0


def fsencode(text: str) -> bytes:
    """Return a path, name or argument as the kernel takes it (PEP 383)."""
    return text.encode("utf-8", "surrogateescape")


def fsdecode(data: bytes) -> str:
    """Return what the kernel gave, such that `fsencode` gives it back."""
    return data.decode("utf-8", "surrogateescape")


def environment(name: str) -> str | None:
    """Return a variable of the runtime's own environment, None when it is not set."""
    value = posix.environ.get(fsencode(name))
    return None if value is None else fsdecode(value)


def makedirs(directory: str, mode: int) -> None:
    """Make a directory with what is missing above it; one that is there is fine."""
    if path.isdir(directory):
        return
    parent = path.dirname(directory)
    if parent != directory:
        makedirs(parent, mode)
    try:
        posix.mkdir(directory, mode)
    except FileExistsError:
        # Somebody was faster, or it is a file: then the next call on it says so.
        return
