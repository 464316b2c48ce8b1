"""Reading what a hostile container left: nothing is followed, opened for nothing, or endless."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import threading

import pytest

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.store import remove_tree
from aisbx_runtime.sandbox.tree import Limits, Mapping, Overlay, walk

USER = Overlay("user")


@pytest.fixture
def upper(tmp_path):
    (tmp_path / "upper").mkdir()
    yield tmp_path / "upper"
    # pytest's own removal goes by paths and gives up on deep trees.
    remove_tree(str(tmp_path / "upper"))


def read(path, mapping=None, **more):
    fd = os.open(path, os.O_RDONLY)
    try:
        return walk(fd, mapping, **more)
    finally:
        os.close(fd)


def kinds(entries):
    return {entry.path: entry.kind for entry in entries}


def test_a_directory_comes_before_what_is_in_it_and_before_its_siblings(upper):
    (upper / "a/b").mkdir(parents=True)
    (upper / "a-b").touch()
    (upper / "!").touch()

    assert [".", "!", "a", "a/b", "a-b"] == [entry.path for entry in read(upper)]


def test_links_are_not_followed(upper, tmp_path):
    (tmp_path / "secret").write_text("outside")
    (upper / "link").symlink_to(tmp_path / "secret")
    (upper / "up").symlink_to("..")

    found = read(upper, digest=True)

    assert {".": "directory", "link": "symlink", "up": "symlink"} == kinds(found)
    assert (str(tmp_path / "secret"), "") == (found[1].target, found[1].digest)


def test_a_fifo_is_not_waited_for(upper):
    os.mkfifo(upper / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(upper / "socket"))

    assert {".": "directory", "fifo": "fifo", "socket": "socket"} == kinds(read(upper, digest=True))


def test_a_name_that_is_no_text_is_kept(upper):
    os.close(os.open(os.fsencode(upper) + b"/\xff\n", os.O_CREAT))

    assert read(upper)[1].path == "\udcff\n"


def test_further_names_of_a_file_are_hardlinks_to_the_first(upper):
    (upper / "d").mkdir()
    (upper / "d/z").write_text("x")
    os.link(upper / "d/z", upper / "b")
    os.link(upper / "d/z", upper / "e")

    found = {entry.path: (entry.kind, entry.target) for entry in read(upper)}

    assert found["b"] == ("file", "")
    assert found["d/z"] == found["e"] == ("hardlink", "b")


def test_names_of_one_whiteout_are_whiteouts(upper):
    os.mknod(upper / "a", stat.S_IFCHR, 0)
    os.link(upper / "a", upper / "b")

    assert {".": "directory", "a": "whiteout", "b": "whiteout"} == kinds(read(upper))


def test_an_attribute_makes_a_whiteout_of_an_empty_file_only(upper):
    for name, content in ("empty", ""), ("full", "x"):
        (upper / name).write_text(content)
        os.setxattr(upper / name, "user.overlay.whiteout", b"")

    found = read(upper, overlay=USER)

    assert {".": "directory", "empty": "whiteout", "full": "file"} == kinds(found)


def test_only_y_is_opaque(upper):
    for name, value in ("opaque", b"y"), ("marked", b"x"):
        (upper / name).mkdir()
        os.setxattr(upper / name, "user.overlay.opaque", value)

    found = read(upper, overlay=USER)

    assert {".": False, "marked": False, "opaque": True} == {e.path: e.opaque for e in found}
    assert [()] * 3 == [entry.xattrs for entry in found]


def test_marks_that_this_overlay_does_not_use_are_the_containers_own(upper):
    (upper / "d").mkdir()
    os.setxattr(upper / "d", "user.overlay.opaque", b"y")
    (upper / "f").touch()
    os.setxattr(upper / "f", "user.overlay.whiteout", b"")

    _, directory, file = read(upper)

    assert (False, (("user.overlay.opaque", b"y"),)) == (directory.opaque, directory.xattrs)
    assert ("file", (("user.overlay.whiteout", b""),)) == (file.kind, file.xattrs)


def test_a_file_that_overlay_only_refers_to_is_refused(upper):
    (upper / "f").touch()
    os.setxattr(upper / "f", "user.overlay.metacopy", b"")

    with pytest.raises(InputError) as told:
        read(upper, overlay=USER)

    assert told.value.where == "'f'"


def deepened(path, levels):
    fd = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("end", os.O_CREAT, dir_fd=fd))
    os.close(fd)


def test_a_deep_tree_is_read(upper):
    deepened(upper, 1200)

    found = read(upper, digest=True)

    assert 1202 == len(found)
    assert found[-1].path == "d/" * 1200 + "end"


@pytest.mark.parametrize(
    "limits",
    [
        Limits(entries=5),
        Limits(path_bytes=9),
        Limits(text_bytes=30),
        Limits(hole_bytes=1 << 20),
    ],
)
def test_what_is_too_much_is_refused(upper, limits):
    deepened(upper, 5)
    (upper / "big").touch()
    os.truncate(upper / "big", 2 << 20)

    with pytest.raises(InputError, match="too large"):
        read(upper, limits=limits)


def test_within_the_limits_all_is_read(upper):
    deepened(upper, 5)

    assert 7 == len(read(upper, limits=Limits(entries=6, path_bytes=13, text_bytes=60)))


def test_an_id_outside_the_mapping_is_refused(upper):
    (upper / "f").touch()
    number = os.getuid()

    with pytest.raises(InputError, match="not in the container's id mapping"):
        read(upper, Mapping.of([[0, number + 1, 10]], [[0, os.getgid(), 10]]))


def access_list(user):
    other = 2**32 - 1
    rows = [(1, 6, other), (2, 4, user), (4, 4, other), (16, 4, other), (32, 4, other)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


def test_the_ids_of_access_lists_are_those_inside(upper):
    (upper / "f").touch()
    os.setxattr(upper / "f", "system.posix_acl_access", access_list(70005))
    mapping = Mapping.of([[7, 70000, 10], [0, os.getuid(), 1]], [[0, os.getgid(), 1]])

    assert (("system.posix_acl_access", access_list(12)),) == read(upper, mapping)[1].xattrs


def test_what_grows_while_it_is_read_ends(upper):
    """A writer that runs meanwhile can neither stop the reader nor lead it outside."""
    (upper.parent / "outside").mkdir()
    (upper.parent / "outside/secret").touch()
    stop = threading.Event()
    told = set()

    def write():
        count = 0
        while not stop.is_set():
            count += 1
            path = upper / f"d{count % 5}"
            with contextlib.suppress(OSError):
                (path / "e/f").mkdir(parents=True)
                (path / "e/file").write_bytes(b"x" * count)
                os.rename(path / "e", path / "g")
                os.symlink(upper.parent / "outside", path / "e")
            with contextlib.suppress(OSError):
                os.unlink(path / "e")
                os.rename(path / "g", upper / f"d{(count + 1) % 5}" / "e")
                os.unlink(upper / f"d{(count + 1) % 5}" / "e/file")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            with contextlib.suppress(HostError):
                told |= {entry.path for entry in read(upper, digest=True)}
    finally:
        stop.set()
        writer.join()

    assert any(path.endswith(("/g", "/e")) for path in told)
    assert [] == [path for path in told if "secret" in path]


@pytest.mark.root
def test_the_devices_and_attributes_of_root_are_read(upper):
    os.mknod(upper / "disk", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
    os.symlink("nowhere", upper / "link")
    os.setxattr(upper / "link", "trusted.a", b"\0", follow_symlinks=False)
    (upper / "shut").mkdir(mode=0)
    os.setxattr(upper / "shut", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "shut", "trusted.overlay.origin", b"\0")
    os.setxattr(upper / "shut", "trusted.overlay.overlay.opaque", b"n")

    _, disk, link, shut = read(upper)

    assert ("block", (259, 70000), 0o640) == (disk.kind, disk.device, disk.mode)
    assert (("trusted.a", b"\0"),) == link.xattrs
    assert (True, (("trusted.overlay.opaque", b"n"),)) == (shut.opaque, shut.xattrs)


@pytest.mark.root
def test_the_root_of_a_file_capability_is_the_one_inside(upper):
    (upper / "f").touch()
    sets = struct.pack("<4I", 0x400, 0, 0, 0)
    stored = struct.pack("<I", 0x03000001) + sets + struct.pack("<I", 70000)
    os.setxattr(upper / "f", "security.capability", stored)
    os.chown(upper / "f", 70000, 70000)
    os.setxattr(upper / "f", "security.capability", stored)
    os.chown(upper, 70000, 70000)
    mapping = Mapping.of([[0, 70000, 10]], [[0, 70000, 10]])

    seen = struct.pack("<I", 0x02000001) + sets
    assert (("security.capability", seen),) == read(upper, mapping)[1].xattrs
