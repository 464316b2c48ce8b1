"""A tree to a tar archive that any tar reads; to a file it comes whole or not at all."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import HostError
from aisbx_runtime.sandbox.images import layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.tree import Entry


@dataclass(frozen=True, slots=True)
class Exported:
    """size_bytes: of the archive. sockets: how many files were left out."""

    size_bytes: int
    sockets: int


def export(
    entries: list[Entry],
    open_content: Callable[[Entry], BinaryIO],
    file: BinaryIO,
    progress: Progress,
) -> Exported:
    """Write the archive of a tree. Raises InputError for what no archive can say, OSError."""
    ready = layer.ordered(entries)
    advance = layer.step(progress, "writing the archive", ready)
    size_bytes = 0
    for block in layer.blocks(ready, open_content):
        file.write(block)
        size_bytes += len(block)
        advance(size_bytes)
    file.flush()
    return Exported(size_bytes, sum(entry.kind == "socket" for entry in ready))


def export_to_file(
    entries: list[Entry],
    open_content: Callable[[Entry], BinaryIO],
    path: str,
    progress: Progress,
) -> Exported:
    """Write the archive in the place of the file at path, which is for its owner alone."""
    new = f"{path}.new-{os.getpid()}"
    try:
        # Else what a link there leads to would be written, or a killed one's half.
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                made = export(entries, open_content, file, progress)
                os.fsync(fd)
            os.rename(new, path)
        except BaseException:
            os.unlink(new)
            raise
    except OSError as error:
        raise HostError(
            "cannot write the archive",
            where=error.filename or path,
            why=errno.errorcode.get(error.errno or 0, "OSError"),
        ) from error
    return made
