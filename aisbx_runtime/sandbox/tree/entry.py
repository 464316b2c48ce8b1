"""One file of an upper directory, and the order of them."""

from __future__ import annotations

from dataclasses import dataclass

# Path bytes of "." itself: it comes before all others.
ROOT = "."


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the upper directory, as the container sees it.

    path: relative to the root, `.` for the root itself, `/` between names; bytes that are no UTF-8
    are surrogates (`text_of`).
    kind: directory, file, hardlink, symlink, fifo, socket, character, block, whiteout.
    mode: the 12 permission bits. uid, gid: inside the container. mtime_ns: nanoseconds.
    size: bytes of a file. digest: `sha256:HEX` of its content, empty until it is known.
    target: of a symlink, or the path of the first name of a hardlink.
    device: major and minor. opaque: the directory hides what lies below it in the image.
    xattrs: sorted, without those of overlay itself.
    A whiteout has a path only, a hardlink path and target: the rest is that of its first name.
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


def text_of(raw: bytes) -> str:
    """Return a name as text, in any locale: os.fsdecode goes by the locale's encoding."""
    return raw.decode("utf-8", "surrogateescape")


def raw_of(text: str) -> bytes:
    """Return the bytes of a name that `text_of` made. Raises UnicodeEncodeError for others."""
    return text.encode("utf-8", "surrogateescape")


def order(path: str) -> bytes:
    """Return the sort key of a path: a directory, then all that is in it, then its next sibling."""
    # No name contains a NUL, and nothing sorts before it: `a/b` comes before `a-b`.
    return b"" if path == ROOT else raw_of(path).replace(b"/", b"\0")
