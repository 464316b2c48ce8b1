"""The bytes inside a compressed layer, as a stream with limits: a bomb ends it early.

gzip by zlib, zstd by the program zstd: Python 3.11 has no module for it. Two readers of one file
must see the same bytes, so what is left after the compressed data is refused.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import zlib

from aisbx_runtime.sandbox.errors import HostError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import BinaryIO

    from aisbx_runtime.sandbox.tools import Place

    Read = Callable[[], bytes]

CHUNK_BYTES = 256 << 10
# deflate cannot do better than 1032:1, zstd has no bound. Sparse files of real images reach 1000:1
# for some megabytes, never for gigabytes.
RATIO_FREE_BYTES = 1 << 30
MOST_RATIO = 200


class Limit:
    """Counts what went in and what came out; and raises an error where that cannot go on."""

    def __init__(self, where: str, most_bytes: int) -> None:
        self.where = where
        self.most_bytes = most_bytes
        self.in_bytes = 0
        self.out_bytes = 0

    def add(self, came_out: int) -> None:
        """Count bytes that came out."""
        self.out_bytes += came_out
        if self.out_bytes > self.most_bytes:
            raise HostError(
                "the disk has no room to unpack the layer",
                where=self.where,
                why=f"it has more than the {self.most_bytes >> 20} MiB that are free",
                hint="free some space (aisbx image gc), or name another store by --store",
            )
        if self.out_bytes > RATIO_FREE_BYTES and self.out_bytes > MOST_RATIO * self.in_bytes:
            raise InputError(
                "the layer is a decompression bomb",
                where=self.where,
                why=f"{self.in_bytes} bytes became {self.out_bytes} and there was more",
            )


@contextlib.contextmanager
def unpacked(file: BinaryIO, compression: str, limit: Limit, place: Place) -> Generator[Read]:
    """Yield a function that returns the next bytes, and b"" at the end.

    compression: empty, gzip or zstd. place: where zstd runs.
    """
    if compression == "gzip":
        yield _gzip(file, limit).__next__
    elif compression == "zstd":
        with _zstd(file, limit, place) as read:
            yield read
    else:
        yield _plain(file, limit).__next__


def _plain(file: BinaryIO, limit: Limit) -> Generator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        limit.in_bytes += len(chunk)
        limit.add(len(chunk))
        yield chunk
    while True:
        yield b""


def _gzip(file: BinaryIO, limit: Limit) -> Generator[bytes]:
    """RFC 1952: one member after the other, and nothing after the last."""
    rest = b""
    while True:
        rest = rest or _more(file, limit)
        if not rest:
            break
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                chunk = member.decompress(rest, CHUNK_BYTES)
            except zlib.error as error:
                raise InputError(
                    "the layer is no gzip, or a damaged one", where=limit.where, why=str(error)
                ) from error
            rest = member.unconsumed_tail
            if chunk:
                limit.add(len(chunk))
                yield chunk
            if not rest and not member.eof:
                rest = _more(file, limit)
                if not rest and not chunk:
                    raise InputError("the layer ends in the middle of its gzip", where=limit.where)
        rest = member.unused_data
    while True:
        yield b""


def _more(file: BinaryIO, limit: Limit) -> bytes:
    chunk = file.read(CHUNK_BYTES)
    limit.in_bytes += len(chunk)
    return chunk


@contextlib.contextmanager
def _zstd(file: BinaryIO, limit: Limit, place: Place) -> Generator[Read]:
    # zstd(1): a frame may ask for a window of 2 GiB; -q: only errors.
    out_fd, in_fd = os.pipe2(os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "zstd", "-dcq", "--memory=128MB"],
            stdin=file,
            stdout=in_fd,
            stderr=subprocess.DEVNULL,
            pass_fds=(place.lock_fd,),
        )
    except BaseException:
        os.close(out_fd)
        raise
    finally:
        os.close(in_fd)

    def read() -> bytes:
        chunk = os.read(out_fd, CHUNK_BYTES)
        # zstd shares the file's offset: that is how far it has read.
        limit.in_bytes = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        limit.add(len(chunk))
        if not chunk and process.wait() != 0:
            raise InputError(
                "the layer is no zstd, or a damaged one",
                where=limit.where,
                why=f"zstd: exit code {process.returncode}",
            )
        return chunk

    try:
        yield read
    finally:
        process.kill()
        process.wait()
        os.close(out_fd)
