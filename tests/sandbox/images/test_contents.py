"""A content is the file that was walked, or an error: no link is followed, no fifo waited for."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.sandbox.errors import HostError
from aisbx_runtime.sandbox.images.contents import opened
from aisbx_runtime.sandbox.tree import Entry

OUTSIDE = "not yours"


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text(OUTSIDE)
    (tmp_path / "top/a/b").mkdir(parents=True)
    fd = os.open(tmp_path / "top", os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path / "top", fd
    os.close(fd)


def file(path):
    return Entry(path=path, kind="file")


def fds():
    return sorted(os.listdir("/proc/self/fd"))


def test_a_file_is_read(directory):
    (directory[0] / "a/b/file").write_text("text")
    (directory[0] / "a/\udcff").write_text("odd")
    before = fds()
    for path, content in (("a/b/file", b"text"), ("a/\udcff", b"odd")):
        with opened(directory[1], file(path)) as found:
            assert found.read() == content

    assert before == fds()


def put_link(top):
    (top / "a/b/file").symlink_to("../../../outside/file")


def put_link_above(top):
    (top / "a/b").rmdir()
    (top / "a/b").symlink_to("../../outside")


def put_fifo(top):
    os.mkfifo(top / "a/b/file")


def put_directory(top):
    (top / "a/b/file").mkdir()


def put_file_above(top):
    (top / "a/b").rmdir()
    (top / "a/b").write_text("")


def put_nothing(top):
    del top


@pytest.mark.parametrize(
    "put", [put_link, put_link_above, put_fifo, put_directory, put_file_above, put_nothing]
)
def test_what_stands_in_the_place_of_a_file_is_not_read(directory, put):
    put(directory[0])
    before = fds()
    with pytest.raises(HostError, match="went away"):
        opened(directory[1], file("a/b/file"))

    assert before == fds()
