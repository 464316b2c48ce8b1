"""Entries to a tar layer as image-spec layer.md wants it: order, whiteouts, digests in one pass.

Same entries and contents, same bytes, whatever the order they come in. The content is streamed.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.images import archive
from aisbx_runtime.sandbox.images.members import Member
from aisbx_runtime.sandbox.images.view import View
from aisbx_runtime.sandbox.tree import raw_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from typing import BinaryIO

    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.tree import Entry

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
CHUNK_BYTES = 512 * 1024
# RFC 1952: deflate, no name, no time, made on Unix.
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
# RFC 1951: an empty block that is the last one.
_LAST_BLOCK = b"\x03\0"
_WINDOW_BYTES = 32 * 1024
# 1 % larger than 6, in half the time.
_LEVEL = 5


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was written.

    diff_id: of the archive; digest and size_bytes: of what was written, gzip.
    newest_ns: the newest mtime of an entry, None without any. sockets: how many were left out.
    """

    diff_id: str
    digest: str
    size_bytes: int
    newest_ns: int | None
    sockets: int


def step(progress: Progress, what: str, entries: Iterable[Entry]) -> Callable[[int], None]:
    """Begin a step in which an archive of entries is made; return who is told of its bytes."""
    total_bytes = sum(entry.size for entry in entries if entry.kind == "file")
    progress.step(what, total_bytes)
    # Headers are no part of the total.
    return lambda done_bytes: progress.advance(min(done_bytes, total_bytes))


def write(
    entries: Iterable[Entry],
    open_content: Callable[[Entry], BinaryIO],
    file: BinaryIO,
    advance: Callable[[int], None] | None = None,
) -> Layer:
    """Write the layer of these entries as gzip; the caller flushes the file to the disk.

    advance: is told how many bytes of the archive are done.
    Raises InputError for what no layer can say, HostError where a content is not what its entry
    says, OSError.
    """
    ready = ordered(entries)
    _check_view(ready)
    output = Compressed(file)
    for done_bytes in output.take(blocks(ready, open_content)):
        if advance is not None:
            advance(done_bytes)
    return Layer(
        diff_id=output.diff_id,
        digest=output.digest,
        size_bytes=output.size_bytes,
        newest_ns=max(
            (entry.mtime_ns for entry in ready if entry.kind != "whiteout"), default=None
        ),
        sockets=sum(entry.kind == "socket" for entry in ready),
    )


class Compressed:
    """A gzip file that is written, and the digests of what went in and came out.

    Chunks are compressed side by side, each with the end of the one before as its dictionary, and
    joined at byte boundaries (RFC 1951 3.2.4): the result does not depend on how many processors
    there are.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size_bytes = 0
        self._inside = hashlib.sha256()
        self._outside = hashlib.sha256()
        self._check = 0
        self._taken_bytes = 0
        self._tail = b""

    def take(self, parts: Iterable[bytes]) -> Iterator[int]:
        """Write all parts, and yield now and then how many bytes went in."""
        processors = len(os.sched_getaffinity(0))
        self._write(_GZIP_HEADER)
        with ThreadPoolExecutor(processors) as pool:
            waiting: deque[Future[bytes]] = deque()
            for chunk in _chunks(parts):
                waiting.append(pool.submit(_deflated, chunk, self._tail))
                self._tail = chunk[-_WINDOW_BYTES:]
                self._inside.update(chunk)
                self._check = zlib.crc32(chunk, self._check)
                self._taken_bytes += len(chunk)
                while len(waiting) > 2 * processors:
                    self._write(waiting.popleft().result())
                yield self._taken_bytes
            for done in waiting:
                self._write(done.result())
        self._write(_LAST_BLOCK)
        # RFC 1952 2.3.1: CRC32, and ISIZE modulo 2 ** 32.
        self._write(struct.pack("<II", self._check, self._taken_bytes & 0xFFFFFFFF))
        yield self._taken_bytes

    def _write(self, data: bytes) -> None:
        self._outside.update(data)
        self.size_bytes += len(data)
        self.file.write(data)

    @property
    def diff_id(self) -> str:
        """Return the digest of what went in."""
        return f"sha256:{self._inside.hexdigest()}"

    @property
    def digest(self) -> str:
        """Return the digest of what came out."""
        return f"sha256:{self._outside.hexdigest()}"


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes cut at the same places, however they come."""
    gathered = bytearray()
    for part in parts:
        gathered += part
        while len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered[:CHUNK_BYTES])
            del gathered[:CHUNK_BYTES]
    if gathered:
        yield bytes(gathered)


def _deflated(chunk: bytes, before: bytes) -> bytes:
    # Threads do this at once: zlib lets go of the interpreter's lock.
    deflate = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY, before
    )
    return deflate.compress(chunk) + deflate.flush(zlib.Z_SYNC_FLUSH)


def blocks(
    entries: Iterable[Entry],
    open_content: Callable[[Entry], BinaryIO],
) -> Iterator[bytes]:
    """Yield the archive of `ordered` entries, piece by piece. Raises as `write` does."""
    for entry in _members(entries):
        yield archive.header(entry)
        if entry.kind == "file" and entry.size:
            yield from _content(entry, open_content)
            yield archive.padding(entry.size)
    yield archive.END


def _members(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield what stands in the archive: what a layer has no type for is a file of a known name."""
    for entry in entries:
        if entry.kind == "socket":
            # tar has no type for it, and a socket without its server is of no use.
            continue
        if entry.kind == "whiteout":
            yield _marker(entry, _beside(entry.path, WHITEOUT))
            continue
        yield entry
        if entry.opaque:
            inside = "" if entry.path == "." else f"{entry.path}/"
            yield _marker(entry, inside + OPAQUE)


def _check_view(entries: Iterable[Entry]) -> None:
    """Refuse what our own reader of layers would refuse later, when nobody knows the container."""
    view = View()
    view.begin("")
    for entry in _members(entries):
        size = entry.size if entry.kind == "file" else 0
        xattrs = {raw_of(name): value for name, value in entry.xattrs}
        try:
            view.add(
                Member(
                    path=raw_of(entry.path),
                    kind=entry.kind,
                    mode=entry.mode,
                    uid=entry.uid,
                    gid=entry.gid,
                    size=size,
                    target=raw_of(entry.target),
                    device=entry.device,
                    xattrs=xattrs,
                )
            )
        except InputError as error:
            raise InputError(
                "an image cannot carry a file as it is",
                where=f"/{entry.path[:200]}",
                why=error.why or error.what,
                hint="change or remove it in the container",
            ) from error


def _beside(path: str, prefix: str) -> str:
    parent, slash, name = path.rpartition("/")
    return f"{parent}{slash}{prefix}{name}"


def _marker(entry: Entry, path: str) -> Entry:
    # Its own facts mean nothing: the same ones for all keep the digest.
    return replace(
        entry, path=path, kind="file", mode=0, uid=0, gid=0, mtime_ns=0, size=0, opaque=False,
        xattrs=(),
    )  # fmt: skip


def _content(entry: Entry, open_content: Callable[[Entry], BinaryIO]) -> Iterator[bytes]:
    left_bytes = entry.size
    content = hashlib.sha256()
    with open_content(entry) as file:
        while left_bytes:
            part = file.read(min(CHUNK_BYTES, left_bytes))
            if not part:
                raise _changed(entry, f"it ends {left_bytes} bytes before its size")
            left_bytes -= len(part)
            if entry.digest:
                content.update(part)
            yield part
        if file.read(1):
            raise _changed(entry, "it goes on after its size")
    if entry.digest and f"sha256:{content.hexdigest()}" != entry.digest:
        raise _changed(entry, f"its content is not {entry.digest}")


def _changed(entry: Entry, why: str) -> HostError:
    return HostError(
        "a file changed while it was packed",
        where=f"/{entry.path}",
        why=why,
        hint="stop what writes there, and call again",
    )


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries as they stand in an archive: the same list for every order they come in.

    Directories come before what is in them, what is removed before what is there (image-spec
    layer.md, "Whiteouts"), and the first of the names of a file has the file; what is no regular
    file is there once for each of its names.
    Raises InputError for what no layer can say.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        _check(entry)
        if entry.path in found:
            raise InputError("a path is there twice", where=f"/{entry.path}")
        found[entry.path] = entry
    names: dict[str, list[str]] = {}
    for entry in list(found.values()):
        if entry.kind != "hardlink":
            continue
        first = found.get(entry.target, entry)
        if first.kind in {"hardlink", "directory", "whiteout"}:
            raise InputError(
                "a hardlink leads to no file", where=f"/{entry.path}", why=f"/{entry.target}"
            )
        if first.kind == "file":
            names.setdefault(entry.target, [entry.target]).append(entry.path)
        else:
            # Not every engine makes a second name of a symbolic link, and none is missed.
            found[entry.path] = replace(first, path=entry.path)
    for target, group in names.items():
        _share(found, found[target], sorted(group, key=_steps))
    return sorted(found.values(), key=_place)


def _share(found: dict[str, Entry], file: Entry, group: list[str]) -> None:
    for path in group:
        found[path] = replace(file, path=path, kind="hardlink", target=group[0])
    found[group[0]] = replace(file, path=group[0])


def _steps(path: str) -> list[tuple[int, bytes]]:
    return [] if path == "." else [(1, name) for name in raw_of(path).split(b"/")]


def _place(entry: Entry) -> list[tuple[int, bytes]]:
    steps = _steps(entry.path)
    if entry.kind == "whiteout":
        steps[-1] = (0, steps[-1][1])
    return steps


def _check(entry: Entry) -> None:
    """Refuse a path that means another thing in a layer than in a directory."""
    if entry.path == ".":
        if entry.kind == "directory":
            return
        raise InputError("the root of a layer must be a directory", why=entry.kind)
    for name in entry.path.split("/"):
        if name in {"", ".", ".."} or "\0" in name:
            raise InputError("no path of a layer", where=repr(entry.path))
        if name.startswith(WHITEOUT):
            raise InputError(
                "an image cannot carry a file of this name",
                where=f"/{entry.path}",
                why=f"a name that begins with {WHITEOUT} stands for a file that was removed",
                hint="rename or remove it",
            )
