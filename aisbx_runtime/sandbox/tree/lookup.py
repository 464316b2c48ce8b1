"""Look at single files of a rootfs that was made from an image, without following anything."""

from __future__ import annotations

import os

from aisbx_runtime.sandbox.tree.content import digest_of, open_content
from aisbx_runtime.sandbox.tree.entry import ROOT, Entry, raw_of, text_of
from aisbx_runtime.sandbox.tree.walk import DEFAULT_OVERLAY, entry_of

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def lookup(root_fd: int, path: str) -> Entry | None:
    """Return the entry of a path below a directory, without its digest; None: it is not there."""
    path_fd = _opened(root_fd, path)
    if path_fd is None:
        return None
    try:
        found = os.fstat(path_fd)
        return entry_of(path_fd, found, path, None, DEFAULT_OVERLAY, lambda _, it: ("", it.st_size))
    finally:
        os.close(path_fd)


def names_in(root_fd: int, path: str) -> list[str]:
    """Return the sorted names in a directory below another; none where it is no directory."""
    path_fd = _opened(root_fd, path)
    if path_fd is None:
        return []
    try:
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=path_fd)
    except NotADirectoryError:
        return []
    finally:
        os.close(path_fd)
    try:
        return [text_of(raw) for raw in sorted(os.fsencode(name) for name in os.listdir(fd))]
    finally:
        os.close(fd)


def digest_at(root_fd: int, path: str) -> str:
    """Return the digest of a regular file below a directory. Raises FileNotFoundError."""
    path_fd = _opened(root_fd, path)
    if path_fd is None:
        raise FileNotFoundError(path)
    try:
        fd = open_content(path_fd)
        try:
            return digest_of(fd, os.fstat(fd).st_size)[0]
        finally:
            os.close(fd)
    finally:
        os.close(path_fd)


def _opened(root_fd: int, path: str) -> int | None:
    """Return an O_PATH fd, name by name: a symbolic link on the way is no directory."""
    fd = os.open(b".", _PATH, dir_fd=root_fd)
    for name in [] if path == ROOT else raw_of(path).split(b"/"):
        try:
            next_fd = os.open(name, _PATH, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        finally:
            os.close(fd)
        fd = next_fd
    return fd
