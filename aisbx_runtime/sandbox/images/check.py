"""An image is held against its own word and against the rules before anything is unpacked.

Each layer is read once, as a stream: its digest (the config's diff_id), its headers, its sizes.
What umoci then reads is the same bytes, in files that nobody else writes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.images.compression import Limit, unpacked
from aisbx_runtime.sandbox.images.manifest import COMPRESSIONS
from aisbx_runtime.sandbox.images.members import Stream, members
from aisbx_runtime.sandbox.images.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from aisbx_runtime.sandbox.images.manifest import Config, Manifest
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.tools import Place

# Between two reports of progress.
STEP_BYTES = 4 << 20
# What a file system wants for itself, and for a directory or inode.
RESERVE_BYTES = 1 << 20
FILE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """What unpacking will write. size_bytes: of files, each rounded up to a block."""

    size_bytes: int
    files: int


def check(
    image: Manifest,
    config: Config,
    opened: Callable[[str], BinaryIO],
    place: Place,
    progress: Progress,
) -> Contents:
    """Read every layer of an image. opened: a blob by its digest.

    Raises InputError that names the layer and the member where a rule is broken.
    """
    if len(image.layers) != len(config.diff_ids):
        raise InputError(
            "manifest and config do not belong together",
            where=image.config.digest,
            why=f"{len(image.layers)} layers, and {len(config.diff_ids)} diff_ids",
        )
    total = sum(layer.size for layer in image.layers)
    progress.step("checking the layers", total)
    view = View()
    # More than the disk has free is a bomb, or as bad: reading it to its end helps nobody.
    room = os.statvfs(place.path)
    most_bytes = room.f_bavail * room.f_frsize
    before = 0
    for number, (layer, diff_id) in enumerate(zip(image.layers, config.diff_ids, strict=True), 1):
        where = f"layer {number} of {len(image.layers)}, {layer.digest}"
        view.begin(where)
        limit = Limit(where, most_bytes)
        digest = hashlib.sha256()
        with (
            opened(layer.digest) as file,
            unpacked(file, COMPRESSIONS[layer.media_type], limit, place) as read,
        ):
            stream = Stream(_reporting(read, limit, before, progress), digest.update)
            for member in members(stream, where):
                view.add(member)
            # Where the archive has no end marks, there is nothing left; else this reads nothing.
            stream.is_zero_to_the_end()
        if f"sha256:{digest.hexdigest()}" != diff_id:
            raise InputError(
                "a layer has another content than the config says",
                where=where,
                why=f"its diff_id is sha256:{digest.hexdigest()}, not {diff_id}",
            )
        before += layer.size
        progress.advance(before)
    return Contents(view.size_bytes, view.files)


def check_space(path: str, size_bytes: int, files: int, purpose: str) -> None:
    """Raise HostError where the file system of path has no room for that much more."""
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    wanted = size_bytes + files * FILE_BYTES + RESERVE_BYTES
    if wanted > free:
        raise HostError(
            f"the disk has no room to {purpose}",
            where=path,
            why=f"{wanted >> 20} MiB are wanted, {free >> 20} MiB are free",
            hint="free some space (aisbx image gc), or name another store by --store",
        )
    # Some file systems count no inodes.
    if found.f_files and files > found.f_favail:
        raise HostError(
            f"the disk has no inodes left to {purpose}",
            where=path,
            why=f"{files} are wanted, {found.f_favail} are free",
            hint="free some (aisbx image gc), or name another store by --store",
        )


def _reporting(
    read: Callable[[], bytes], limit: Limit, before: int, progress: Progress
) -> Callable[[], bytes]:
    told = 0

    def reporting() -> bytes:
        nonlocal told
        chunk = read()
        if limit.in_bytes - told >= STEP_BYTES:
            told = limit.in_bytes
            progress.advance(before + told)
        return chunk

    return reporting
