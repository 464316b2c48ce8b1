"""The stub writes the LSM label of its program, in a directory that comes with the start."""

from __future__ import annotations

import os

import pytest

LISTENS, CONNECTED, FORKS = 8, 9, 11


@pytest.fixture
def attributes(tmp_path):
    """A directory that stands in for /proc/PID/attr, and an fd of it."""
    (tmp_path / "exec").touch()
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield tmp_path, fd
    os.close(fd)


@pytest.mark.parametrize("kind", [LISTENS, CONNECTED], ids=["listening", "connected"])
def test_it_is_written_before_the_program_runs(launch, attributes, kind):
    path, fd = attributes
    waiting = launch("/bin/cat", str(path / "exec"), kind=kind, label="exec a b\n")

    assert (b"", b"exec a b\n", 0) == waiting.finish(fds=[fd])


def test_the_program_has_no_descriptor_of_it(launch, attributes):
    listing = launch("/bin/ls", "/proc/self/fd", kind=CONNECTED, label="x")

    assert (b"", b"0\n1\n2\n3\n", 0) == listing.finish(fds=[attributes[1]])


def test_it_is_not_written_by_the_stub_that_forks(launch, attributes):
    path, fd = attributes
    waiting = launch("/bin/cat", str(path / "exec"), kind=FORKS, label="x")
    peer = waiting.channel.peer
    peer.send(b"g")
    waiting.process.wait(20)
    word, number = peer.recv(32).split()
    before = (path / "exec").read_text()
    waiting.channel.start(fds=[fd]).recv(1)
    os.waitpid(int(number), 0)

    assert (word, before, waiting.process.stdout.read()) == (b"pid", "", b"x")


def test_without_a_directory_the_program_does_not_run(launch):
    assert (b"label 9", b"", 1) == launch("/bin/true", kind=CONNECTED, label="x").finish()


def test_without_the_file_the_program_does_not_run(launch, attributes):
    path, fd = attributes
    (path / "exec").unlink()

    assert (b"label 2", b"", 1) == launch("/bin/true", kind=CONNECTED, label="x").finish(fds=[fd])


def test_a_label_that_is_refused_is_reported(launch, attributes):
    path, fd = attributes
    (path / "exec").unlink()
    (path / "exec").symlink_to("/dev/full")

    assert (b"label 28", b"", 1) == launch("/bin/true", kind=CONNECTED, label="x").finish(fds=[fd])


def test_a_descriptor_that_nobody_asked_for_is_not_passed_on(launch, attributes):
    listing = launch("/bin/ls", "/proc/self/fd", kind=1, label="x")

    assert (b"", b"0\n1\n2\n3\n", 0) == listing.finish(fds=[attributes[1]])
    assert "" == (attributes[0] / "exec").read_text()
