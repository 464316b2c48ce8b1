"""Making an upper directory from entries, and what is refused."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct

import pytest

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.store import remove_tree
from aisbx_runtime.sandbox.tree import Entry, Mapping, Overlay, make, walk

IDENTITY = Mapping.of([[0, os.getuid(), 1]], [[0, os.getgid(), 1]])
DIRECTORY = Entry("d", "directory", 0o755)


@pytest.fixture
def upper(tmp_path):
    (tmp_path / "upper").mkdir()
    yield tmp_path / "upper"
    # pytest's own removal goes by paths and gives up on deep trees.
    remove_tree(str(tmp_path / "upper"))


def made(path, *entries, content=b"", mapping=IDENTITY, **more):
    fd = os.open(path, os.O_RDONLY)
    try:
        make(
            fd,
            entries,
            lambda _: content if hasattr(content, "read") else io.BytesIO(content),
            mapping,
            overlay=Overlay("user"),
            **more,
        )
        return walk(fd, mapping, True, overlay=Overlay("user"))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("../d", "directory")],
        [Entry("/d", "directory")],
        [DIRECTORY, Entry("d/", "fifo")],
        [DIRECTORY, Entry("d/..", "fifo")],
        [DIRECTORY, Entry("d//f", "fifo")],
        [Entry("", "directory")],
        [Entry("a\0b", "fifo")],
        [Entry("\ud800", "fifo")],
        [Entry("x" * 256, "fifo")],
        [Entry("d/f", "fifo")],
        [Entry("d", "fifo"), Entry("d/f", "fifo")],
        [Entry("d", "symlink", target="/"), Entry("d/f", "fifo")],
        [Entry("f", "fifo"), DIRECTORY],
        [DIRECTORY, DIRECTORY],
        [Entry("a", "hardlink", target="b"), Entry("b", "fifo")],
        [DIRECTORY, Entry("e", "hardlink", target="d")],
        [Entry("e", "hardlink", target="../secret")],
        [Entry("e", "whiteout"), Entry("f", "hardlink", target="e")],
        [Entry("e", "door")],
        [Entry("e", "fifo", mode=0o10644)],
        [Entry(".", "fifo")],
        [DIRECTORY, Entry(".", "directory")],
        [Entry("f", "fifo", uid=7)],
        [Entry("f", "file", size=3)],
    ],
)
def test_what_is_no_tree_is_refused(upper, entries):
    (upper.parent / "secret").touch()

    with pytest.raises(InputError):
        made(upper, *entries)

    assert {"upper", "secret"} == set(os.listdir(upper.parent))


def test_a_directory_that_forbids_writing_is_filled(upper):
    made(upper, Entry("d", "directory", 0o555, mtime_ns=7), Entry("d/f", "fifo", 0o600))

    found = os.stat(upper / "d")
    assert (0o555, 7) == (stat.S_IMODE(found.st_mode), found.st_mtime_ns)
    assert (upper / "d/f").is_fifo()


def test_the_root_gets_its_own_mode_and_time(upper):
    made(upper, Entry(".", "directory", 0o711, mtime_ns=5), Entry("f", "fifo"))

    found = os.stat(upper)
    assert (0o711, 5) == (stat.S_IMODE(found.st_mode), found.st_mtime_ns)


def test_a_deep_tree_is_made_and_links_reach_its_end(upper):
    paths = ["/".join("d" * depth) for depth in range(1, 1200)]
    entries = [Entry(path, "directory", 0o755) for path in paths]
    end = Entry(f"{paths[-1]}/f", "fifo", 0o600)
    link = Entry("e", "hardlink", target=end.path)

    assert [*entries, end, link] == made(upper, *entries, end, link)[1:]


def test_holes_stay_holes(upper, tmp_path):
    with open(tmp_path / "source", "wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"middle")
    source = open(tmp_path / "source", "rb")  # noqa: SIM115 - closed by make

    fd = os.open(upper, os.O_RDONLY)
    make(fd, [Entry("f", "file", 0o600, size=1 << 30)], lambda _: source, IDENTITY)
    os.close(fd)

    assert os.stat(upper / "f").st_blocks * 512 < 1 << 20
    with open(upper / "f", "rb") as file:
        assert b"middle\0" == os.pread(file.fileno(), 7, 1 << 29)


def test_what_comes_compressed_is_written_as_it_reads(upper, tmp_path):
    with gzip.open(tmp_path / "source", "wb") as file:
        file.write(b"x" * 1000)

    with gzip.open(tmp_path / "source") as content:
        made(upper, Entry("f", "file", 0o600, size=1000), content=content)

    assert b"x" * 1000 == (upper / "f").read_bytes()


def test_what_is_made_is_told_with_its_stat(upper):
    told = []
    entry = Entry("f", "file", 0o600, size=1)

    made(upper, entry, content=b"x", made=lambda *more: told.append(more))

    assert [(entry, os.stat(upper / "f").st_ino)] == [(e, found.st_ino) for e, found in told]


def test_overlays_marks_are_made_by_us_alone(upper):
    """Whoever writes the entries cannot have overlay look elsewhere."""
    planted = (("user.overlay.redirect", b"/etc"), ("user.overlay.opaque", b"y"))

    made(upper, Entry("d", "directory", 0o700, xattrs=tuple(sorted(planted))))

    assert {
        "user.overlay.overlay.opaque",
        "user.overlay.overlay.redirect",
    } == set(os.listxattr(upper / "d"))


@pytest.mark.root
def test_a_refusal_of_the_filesystem_names_the_file(upper):
    with pytest.raises(HostError) as told:
        made(upper, Entry("f", "fifo", 0o600, xattrs=(("trusted.a", b"x" * 70000),)))

    assert ("'f'", "E2BIG") == (told.value.where, told.value.why)


@pytest.mark.root
def test_a_file_capability_is_of_the_containers_root(upper):
    sets = struct.pack("<4I", 0x400, 0, 0, 0)
    plain = ("security.capability", struct.pack("<I", 0x02000001) + sets)
    mapping = Mapping.of([[0, 70000, 10]], [[0, 70000, 10]])

    top = Entry(".", "directory", 0o755)

    made(upper, top, Entry("f", "file", 0o755, xattrs=(plain,)), mapping=mapping)

    stored = struct.pack("<I", 0x03000001) + sets + struct.pack("<I", 70000)
    assert stored == os.getxattr(upper / "f", "security.capability")
