"""The content of an entry, opened below the directory that was walked: no link is followed."""

from __future__ import annotations

import os
import stat

from aisbx_runtime.sandbox.errors import HostError
from aisbx_runtime.sandbox.tree import raw_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from aisbx_runtime.sandbox.tree import Entry

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def opened(directory_fd: int, entry: Entry) -> BinaryIO:
    """Open the content of a file that `walk` found there.

    Whoever writes there may have put something else in its place: a link, or a fifo that waits.
    Raises HostError where it is no regular file any more.
    """
    try:
        fd = _path_fd(directory_fd, raw_of(entry.path).split(b"/"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _gone(entry) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _gone(entry)
        return open(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), "rb")
    finally:
        os.close(fd)


def _gone(entry: Entry) -> HostError:
    return HostError(
        "a file went away while it was read",
        where=f"/{entry.path}",
        hint="stop what writes there, and call again",
    )


def _path_fd(directory_fd: int, names: list[bytes]) -> int:
    fd = os.dup(directory_fd)
    for name in names:
        try:
            # With O_PATH, O_NOFOLLOW opens a symbolic link itself, below which there is nothing.
            below_fd = os.open(name, _PATH, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below_fd
    return fd
