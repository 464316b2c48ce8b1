"""A layer says what its entries say, the same way every time."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.images import archive, layer
from aisbx_runtime.sandbox.tree import Entry
from tests import strategies  # noqa: F401  (the profiles of hypothesis)
from tests.sandbox.images.entries import fields, opener, read_back, trees

ROOT = Entry(path=".", kind="directory", mode=0o755)


def written(entries, contents=None):
    file = io.BytesIO()
    made = layer.write(entries, opener(everywhere(entries, contents or {})), file)
    return made, file.getvalue()


def everywhere(entries, contents):
    """Let a content be opened by each name of its file."""
    links = {entry.path: entry.target for entry in entries if entry.kind == "hardlink"}
    return {
        **contents,
        **{path: contents[first] for path, first in links.items() if first in contents},
    }


def archive_of(entries, contents=None):
    return gzip.decompress(written(entries, contents)[1])


def as_seen(entries):
    """Return path -> facts, where the names of one file are equal: which is first is no fact."""
    by_path = {entry.path: entry for entry in entries}
    groups = {}
    for entry in entries:
        first = entry.target if entry.kind == "hardlink" else entry.path
        groups.setdefault(first, set()).add(entry.path)
    seen = {}
    for first, group in groups.items():
        file = by_path[first]
        if file.kind == "socket":
            continue
        for path in group:
            # Of a file that is not regular each name has one of its own.
            together = group if file.kind == "file" else {path}
            seen[path] = (replace(file, path=path), frozenset(together))
    return seen


@settings(max_examples=60)
@given(trees())
def test_python_reads_back_what_the_entries_say(made):
    entries, contents = made

    assert as_seen(entries) == as_seen(read_back(archive_of(entries, contents)))


@settings(max_examples=60)
@given(trees(), st.randoms(use_true_random=False))
def test_the_order_of_the_entries_changes_nothing(made, shuffler):
    entries, contents = made
    shuffled = list(entries)
    shuffler.shuffle(shuffled)

    assert written(entries, contents) == written(shuffled, contents)


@settings(max_examples=60)
@given(trees())
def test_parents_come_first_and_what_is_removed_comes_before_what_is_there(made):
    entries, contents = made
    with tarfile.open(fileobj=io.BytesIO(archive_of(entries, contents))) as tar:
        names = tar.getnames()
    seen = set()
    filled = set()
    for name in names:
        parent, _, last = name.rpartition("/")
        assert parent in seen or parent in {"", "."}
        assert not (last.startswith(".wh.") and parent in filled)
        seen.add(name)
        if not last.startswith(".wh.") and name != ".":
            filled.add(parent)

    assert len(names) == len(set(names))


@settings(max_examples=60)
@given(trees())
def test_the_digests_are_those_of_the_bytes(made):
    found, data = written(*made)
    inside = hashlib.sha256(gzip.decompress(data)).hexdigest()

    assert found.size_bytes == len(data)
    assert found.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert found.diff_id == f"sha256:{inside}"


def test_the_gzip_header_has_no_name_and_no_time():
    assert written([ROOT])[1][:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\x03"


PIECES = st.lists(st.integers(0, 2 * layer.CHUNK_BYTES), max_size=4)


@settings(max_examples=30)
@given(PIECES, PIECES)
def test_how_the_bytes_come_and_how_many_processors_there_are_changes_nothing(ones, twos):
    content = bytes(range(256)) * 20000
    found = set()
    for pieces, processors in (
        (ones, {min(os.sched_getaffinity(0))}),
        (twos, os.sched_getaffinity(0)),
    ):
        file = io.BytesIO()
        made = layer.Compressed(file)
        rest = io.BytesIO(content)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, processors)
        try:
            told = list(made.take([*(rest.read(size) for size in pieces), rest.read()]))
        finally:
            os.sched_setaffinity(0, before)
        found.add(file.getvalue())
        assert gzip.decompress(file.getvalue()) == content
        assert told[-1] == len(content)

    assert len(found) == 1


@pytest.mark.parametrize("size", [0, 1, layer.CHUNK_BYTES - 1, layer.CHUNK_BYTES])
def test_gzip_reads_what_was_compressed(size):
    content = bytes(size)
    file = io.BytesIO()
    made = layer.Compressed(file)
    list(made.take([content]))
    done = subprocess.run(["gzip", "-dc"], input=file.getvalue(), capture_output=True, check=True)

    assert done.stdout == content
    assert made.diff_id == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_first_name_in_the_archive_has_the_file():
    entries = [
        ROOT,
        Entry(path="a-b", kind="file", size=1),
        Entry(path="a", kind="directory"),
        Entry(path="a/c", kind="hardlink", target="a-b"),
    ]
    found = read_back(archive_of(entries, {"a-b": b"x"}))

    # By bytes a-b is before a/c; in a directory's order a is before a-b.
    assert [(".", "directory"), ("a", "directory"), ("a/c", "file"), ("a-b", "hardlink")] == [
        (entry.path, entry.kind) for entry in found
    ]


def test_sockets_are_counted_and_left_out():
    entries = [ROOT, Entry(path="s", kind="socket"), Entry(path="t", kind="hardlink", target="s")]
    found, data = written(entries)

    assert found.sockets == 2
    assert [ROOT] == read_back(gzip.decompress(data))


@pytest.mark.parametrize("size", [0o77777777777, 0o77777777777 + 1, 8 * 2**30, 5 * 2**40], ids=hex)
def test_the_header_of_a_huge_file_says_its_size(size):
    block = archive.header(Entry(path="huge", kind="file", size=size))
    (member,) = _members(block)

    assert (member.name, member.size) == ("huge", size)
    assert (len(block) > archive.BLOCK) == (size > 0o77777777777)


def _members(blocks):
    with tarfile.open(fileobj=io.BytesIO(blocks), mode="r:", errorlevel=2) as tar:
        return [tar.next()]


def test_a_sparse_file_is_packed_by_its_bytes(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(64 * 2**20)
        file.seek(32 * 2**20)
        file.write(b"middle")
    size = path.stat().st_size
    output = io.BytesIO()
    made = layer.write(
        [ROOT, Entry(path="sparse", kind="file", size=size)], lambda _: path.open("rb"), output
    )

    assert made.size_bytes < 2**17
    with tarfile.open(fileobj=io.BytesIO(output.getvalue()), mode="r:gz") as tar:
        content = tar.extractfile("sparse").read()
    assert (len(content), content[32 * 2**20 :][:6]) == (size, b"middle")
    assert content.count(b"\0") == size - 6


def test_progress_counts_the_bytes_of_the_archive():
    told = []
    content = bytes(3 * layer.CHUNK_BYTES)
    entries = [ROOT, Entry(path="file", kind="file", size=len(content))]
    layer.write(entries, opener({"file": content}), io.BytesIO(), told.append)

    assert told == sorted(told)
    assert len(told) >= 3
    assert told[-1] == len(archive_of(entries, {"file": content}))


@pytest.mark.parametrize("content", [b"123", b"12345"], ids=["short", "long"])
def test_a_file_that_changed_its_size_is_an_error(content):
    with pytest.raises(HostError, match="changed") as caught:
        written([ROOT, Entry(path="file", kind="file", size=4)], {"file": content})

    assert caught.value.where == "/file"


def test_a_content_of_another_digest_is_an_error():
    digest = f"sha256:{hashlib.sha256(b'1234').hexdigest()}"
    with pytest.raises(HostError, match="its content is not sha256:"):
        written([Entry(path="file", kind="file", size=4, digest=digest)], {"file": b"123x"})


@pytest.mark.parametrize(
    "entry",
    [
        Entry(path="/etc", kind="directory"),
        Entry(path="../etc", kind="file"),
        Entry(path="a/../b", kind="file"),
        Entry(path="a//b", kind="file"),
        Entry(path="", kind="directory"),
        Entry(path="a\0b", kind="file"),
        Entry(path=".", kind="file"),
        Entry(path=".", kind="whiteout"),
        Entry(path=".wh.a", kind="file"),
        Entry(path="a/.wh..wh..opq", kind="file"),
        Entry(path=".wh.d/a", kind="file"),
        Entry(path="a", kind="hardlink", target="nowhere"),
        Entry(path="a", kind="hardlink", target="a"),
        Entry(path="a", kind="hardlink", target="."),
        Entry(path="a", kind="file", xattrs=(("user.a=b", b"x"),)),
        Entry(path="a", kind="file", xattrs=(("user.empty", b""),)),
        Entry(path="/".join(["d" * 200] * 20), kind="file"),
        Entry(path="/".join(["d"] * 300), kind="file"),
        Entry(path="n" * 256, kind="file"),
        Entry(path="a", kind="file", xattrs=(("trusted.a", b"x"),)),
        Entry(path="a", kind="file", xattrs=(("user.overlay.opaque", b"y"),)),
        Entry(path="a", kind="file", uid=2**32 - 1),
        Entry(path="a", kind="file", xattrs=tuple((f"user.{i}", b"x" * 65536) for i in range(17))),
    ],
    ids=lambda entry: f"{entry.kind}:{entry.path!r}",
)
def test_what_no_layer_can_say_is_refused(entry):
    with pytest.raises(InputError):
        written([ROOT, entry] if entry.path != "." else [entry])


def test_a_path_twice_is_refused():
    with pytest.raises(InputError, match="twice"):
        written([ROOT, ROOT])


def test_other_readers_than_python_see_a_fraction_of_a_second():
    entry = Entry(path="a", kind="fifo", mtime_ns=1_500_000_000_123_456_700)

    assert b"28 mtime=1500000000.1234567\n" in archive.header(entry)
    assert fields(entry) == fields(read_back(archive.header(entry) + archive.END)[0])
