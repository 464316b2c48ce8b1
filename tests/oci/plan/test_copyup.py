"""Copying a hostile directory of an image: content and attributes, never through a link."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from aisbx_runtime.oci.plan.copyup import copy_directory


@pytest.fixture
def places(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    return tmp_path / "from", tmp_path / "to"


def copy(source, target) -> None:
    before = os.listdir("/proc/self/fd")
    source_fd, target_fd = os.open(source, os.O_PATH), os.open(target, os.O_PATH)
    try:
        copy_directory(source_fd, target_fd)
    finally:
        os.close(source_fd)
        os.close(target_fd)

    assert before == os.listdir("/proc/self/fd")


def test_files_and_directories_arrive_with_mode_and_time(places):
    source, target = places
    (source / "a/b").mkdir(parents=True)
    (source / "a/b/file").write_bytes(b"x" * 3_000_000)
    (source / "a/b/file").chmod(0o4751)
    (source / "a").chmod(0o1777)
    os.utime(source / "a/b/file", ns=(1, 2))
    os.utime(source / "a", ns=(3, 4))
    source.chmod(0o711)
    copy(source, target)
    found = (target / "a/b/file").stat()

    assert b"x" * 3_000_000 == (target / "a/b/file").read_bytes()
    assert (0o4751, 2) == (stat.S_IMODE(found.st_mode), found.st_mtime_ns)
    assert (0o1777, 4) == (
        stat.S_IMODE((target / "a").stat().st_mode),
        (target / "a").stat().st_mtime_ns,
    )
    assert 0o711 == stat.S_IMODE(target.stat().st_mode)


def test_links_are_copied_and_never_followed(places):
    source, target = places
    (source / "link").symlink_to("/etc/shadow")
    (source / "up").symlink_to("../..")
    copy(source, target)

    assert ("/etc/shadow", "../..") == (os.readlink(target / "link"), os.readlink(target / "up"))


def test_what_holds_no_data_is_left_out(places, monkeypatch):
    source, target = places
    os.mkfifo(source / "fifo")
    monkeypatch.chdir(source)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
    (source / "file").touch()
    copy(source, target)

    assert ["file"] == os.listdir(target)


@pytest.mark.root
def test_owners_arrive_and_devices_do_not(places):
    source, target = places
    (source / "file").touch()
    (source / "link").symlink_to("x")
    os.mknod(source / "device", stat.S_IFCHR, os.makedev(1, 3))
    for name in ("file", "link"):
        os.chown(source / name, 1, 2, follow_symlinks=False)
    (source / "file").chmod(0o4755)
    copy(source, target)

    assert ["file", "link"] == sorted(os.listdir(target))
    assert {(1, 2)} == {
        (one.st_uid, one.st_gid) for one in [(target / name).lstat() for name in ("file", "link")]
    }
    # chown(2) takes set-user-id away: the mode comes after it.
    assert 0o4755 == stat.S_IMODE((target / "file").stat().st_mode)


def test_a_target_that_is_there_is_an_error(places):
    source, target = places
    (source / "file").touch()
    (target / "file").touch()
    with pytest.raises(FileExistsError):
        copy(source, target)
