"""What a container changed: the upper directory of an overlay as a list of entries.

Snapshots store it, images carry it as a layer, `diff` prints it. This module reads an upper
directory and makes one from entries; it knows no store and no archive.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the upper directory, as the container sees it.

    path: relative to the root, `.` for the root itself, `/` between names; bytes that are no UTF-8
    are surrogates (os.fsdecode).
    kind: directory, file, hardlink, symlink, fifo, socket, character, block, whiteout.
    mode: the 12 permission bits. uid, gid: inside the container. mtime_ns: nanoseconds.
    size: bytes of a file. digest: `sha256:HEX` of its content, empty until it is known.
    target: of a symlink, or the path of the first name of a hardlink.
    device: major and minor. opaque: the directory hides what lies below it in the image.
    xattrs: sorted, without those of overlay itself.
    """

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    opaque: bool = False
    xattrs: tuple[tuple[str, bytes], ...] = ()
