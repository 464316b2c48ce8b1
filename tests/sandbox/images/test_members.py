"""The strict reader of archives, beside Python's tarfile: it refuses more, and never says other."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.members import Stream, members
from aisbx_runtime.sandbox.images.view import View

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block",
}


def stream_of(content: bytes, chunk: int = 1000) -> tuple[Stream, list[bytes]]:
    file = io.BytesIO(content)
    seen: list[bytes] = []
    return Stream(lambda: file.read(chunk), seen.append), seen


def read(content: bytes, chunk: int = 1000):
    return list(members(stream_of(content, chunk)[0], "here"))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=60)
PATHS = st.lists(NAMES.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=4).map(
    "/".join
)


@st.composite
def infos(draw):
    info = tarfile.TarInfo(draw(PATHS))
    info.type = draw(st.sampled_from(list(KINDS)))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid = draw(st.integers(0, 0o7777777))
    info.gid = draw(st.integers(0, 0o7777777))
    info.mtime = draw(st.integers(0, 1 << 33))
    if info.type in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
        info.linkname = draw(PATHS)
    if info.type in {tarfile.CHRTYPE, tarfile.BLKTYPE}:
        info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 4095))
    content = draw(st.binary(max_size=1500)) if info.type == tarfile.REGTYPE else b""
    info.size = len(content)
    return info, content


@given(st.lists(infos(), max_size=5), st.sampled_from(FORMATS), st.integers(1, 3000))
@settings(max_examples=60)
def test_what_tarfile_writes_is_read_as_it_was_meant(written, form, chunk):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        try:
            for info, content in written:
                archive.addfile(info, io.BytesIO(content))
        except ValueError:
            return  # too long for the old format

    found = read(file.getvalue(), chunk)

    assert len(written) == len(found)
    for (info, _), member in zip(written, found, strict=True):
        assert info.name == member.path.decode().rstrip("/")
        assert KINDS[info.type] == member.kind
        assert (info.mode, info.uid, info.gid) == (member.mode, member.uid, member.gid)
        assert (info.size, info.linkname) == (member.size, member.target.decode())


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(content):
    try:
        read(content)
    except InputError:
        return


@given(
    st.lists(infos(), min_size=1, max_size=3),
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=3),
)
@settings(max_examples=100)
def test_a_spoilt_archive_is_read_or_refused(written, form, spoilt):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        try:
            for info, content in written:
                archive.addfile(info, io.BytesIO(content))
        except ValueError:
            return
    content = bytearray(file.getvalue())
    for place, value in spoilt:
        content[place % len(content)] = value
    view = View()
    view.begin("here")
    try:
        for member in members(stream_of(bytes(content))[0], "here"):
            view.add(member)
    except InputError:
        return


def test_every_byte_is_seen_once_and_in_order():
    content = b"".join([tarfile.TarInfo(f"d{number}").tobuf() for number in range(9)]) + bytes(5000)
    stream, seen = stream_of(content, 777)
    list(members(stream, "here"))

    assert hashlib.sha256(content).digest() == hashlib.sha256(b"".join(seen)).digest()


@pytest.mark.parametrize("chunk", [1, 511, 512, 513, 100_000])
def test_chunks_do_not_matter(chunk):
    info = tarfile.TarInfo("x")
    info.size = 700
    content = info.tobuf() + bytes(1024) + tarfile.TarInfo("y").tobuf() + bytes(1024)

    assert [b"x", b"y"] == [member.path for member in read(content, chunk)]


def test_an_error_says_which_header():
    content = tarfile.TarInfo("x").tobuf() + b"\1" * 512

    with pytest.raises(InputError) as caught:
        read(content)
    assert "here, header 2" == caught.value.where
