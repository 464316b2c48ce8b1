"""A directory or a tar archive to an image of one layer, which then goes the way of a pulled one.

An archive is a stranger's: it is decompressed with limits, and checked as every layer is before it
is unpacked.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import os
import stat
from dataclasses import replace

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images import compression, contents, layer, layout, pack, platforms
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.manifest import Descriptor
from aisbx_runtime.sandbox.images.names import normalised
from aisbx_runtime.sandbox.images.unpack import unpack
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.store import full_disk
from aisbx_runtime.sandbox.tools import Place
from aisbx_runtime.sandbox.tree import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import BinaryIO

    from aisbx_runtime.sandbox.images.document import Value
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store
    from aisbx_runtime.sandbox.tree import Entry

CREATED_BY = "aisbx init --rootfs"
MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
)
_XZ_MEMORY_BYTES = 256 << 20


def import_directory(
    store: Store, path: str, reference: str, *, progress: Progress | None = None
) -> pack.Packed:
    """Make an image of a directory as it is now; what is mounted in it is refused.

    Raises InputError for what no image can carry, HostError where reading or writing fails.
    """
    name = normalised(reference)
    told = progress or Silence()
    directory_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        told.step(f"reading {path}")
        entries = [_plain(entry) for entry in walk(directory_fd, None)]
        entries = [entry for entry in entries if entry.kind != "whiteout"]
        advance = layer.step(told, f"packing {path}", entries)

        def made(file: BinaryIO, place: Place) -> layer.Layer:
            del place
            return layer.write(
                entries, lambda entry: contents.opened(directory_fd, entry), file, advance
            )

        return _imported(store, name, made, told)
    finally:
        os.close(directory_fd)


def import_archive(
    store: Store, path: str, reference: str, *, progress: Progress | None = None
) -> pack.Packed:
    """Make an image of a tar archive: plain, gzip, zstd, xz or bzip2."""
    name = normalised(reference)
    told = progress or Silence()
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as archive:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise InputError("a rootfs is a directory or an archive", where=path)
        told.step(f"reading {path}", found.st_size)
        kind = _compression_of(fd)

        def made(file: BinaryIO, place: Place) -> layer.Layer:
            output = layer.Compressed(file)
            room = os.statvfs(store.path)
            limit = compression.Limit(path, room.f_bavail * room.f_frsize)
            with _unpacked(archive, kind, limit, place) as read:
                for _ in output.take(iter(read, b"")):
                    told.advance(limit.in_bytes)
            return layer.Layer(output.diff_id, output.digest, output.size_bytes, None, 0)

        return _imported(store, name, made, told)


def _plain(entry: Entry) -> Entry:
    """Return the entry as the image has it: the caller's own files are root's in there."""
    return replace(
        entry,
        uid=0 if entry.uid == os.geteuid() else entry.uid,
        gid=0 if entry.gid == os.getegid() else entry.gid,
        # There is nothing below that it could hide.
        opaque=False,
    )


def _imported(
    store: Store,
    name: str,
    write: Callable[[BinaryIO, Place], layer.Layer],
    progress: Progress,
) -> pack.Packed:
    with layout.unnamed(store), store.workplace("import") as place, full_disk(store):
        held = Place(place, store.lock_of(place))
        made = pack.put_layer(store, place, lambda file: write(file, held))
        only = Descriptor(pack.GZIP_LAYER, made.digest, made.size_bytes)
        image = pack.put_image(store, place, _config(made), [only], {})
        # Nothing has a name that was not checked.
        unpack(store, image.digest, progress)
        layout.add_image(store, name, image.digest, image.size)
    rootfs_of(store, name, progress)
    return pack.Packed(name, image.digest, only, made.sockets)


def _config(made: layer.Layer) -> dict[str, Value]:
    # What is in an archive is not read here, and its own time says nothing of its content.
    time = {} if made.newest_ns is None else {"created": pack.time_text(made.newest_ns)}
    return {
        **time,
        "architecture": platforms.of_host().architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [made.diff_id]},
        "history": [{**time, "created_by": CREATED_BY}],
    }


def _compression_of(fd: int) -> str:
    # The offset stays: zstd reads from there.
    first = os.pread(fd, 8, 0)
    return next((kind for magic, kind in MAGICS if first.startswith(magic)), "")


@contextlib.contextmanager
def _unpacked(
    file: BinaryIO, kind: str, limit: compression.Limit, place: Place
) -> Generator[Callable[[], bytes]]:
    if kind in {"xz", "bzip2"}:
        yield _decompressed(file, kind, limit).__next__
        return
    with compression.unpacked(file, kind, limit, place) as read:
        yield read


def _decompressed(file: BinaryIO, kind: str, limit: compression.Limit) -> Generator[bytes]:
    """Yield what is in one xz or bzip2 stream, then b"" for ever."""
    made = (
        bz2.BZ2Decompressor()
        if kind == "bzip2"
        else lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    )
    while not made.eof:
        more = file.read(layer.CHUNK_BYTES) if made.needs_input else b""
        limit.in_bytes += len(more)
        try:
            chunk = made.decompress(more, layer.CHUNK_BYTES)
        except (lzma.LZMAError, OSError) as error:
            raise _damaged(kind, limit, str(error)) from error
        if chunk:
            limit.add(len(chunk))
            yield chunk
        elif not (more or made.eof):
            raise _damaged(kind, limit, "it ends too early")
    if made.unused_data or file.read(1):
        raise _damaged(kind, limit, "something follows its end")
    while True:
        yield b""


def _damaged(kind: str, limit: compression.Limit, why: str) -> InputError:
    return InputError(f"cannot read the {kind} archive", where=limit.where, why=why)
