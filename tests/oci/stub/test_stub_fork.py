"""The stub forks for exec: the new process is its sibling, in the pid namespace of children."""

from __future__ import annotations

import os
import pty
import signal

import pytest

FORKS, WITH_TERMINAL = 3, 7
SESSION = "cut -d' ' -f1,4-8 /proc/$$/stat"


@pytest.fixture
def fork(launch):
    """Return a function that lets a stub fork; it returns the pid of the new process.

    The launcher is our child, and so is the new process (CLONE_PARENT).
    """
    left = set()

    def let_it(waiting):
        waiting.channel.peer.send(b"g")
        status = waiting.process.wait(20)
        word, _, number = waiting.channel.peer.recv(32).decode().partition(" ")
        assert (word, status) == ("pid", 0)
        left.add(int(number))
        return int(number)

    yield let_it
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ChildProcessError, ProcessLookupError):
            continue


def said(waiting):
    """Give the second start; return the report and the output."""
    waiting.channel.peer.send(b"g")
    report = b""
    while chunk := waiting.channel.peer.recv(4096):
        report += chunk
    return report, waiting.process.stdout.read()


def test_the_new_process_is_our_child_and_waits_for_a_second_start(launch, fork):
    waiting = launch("/bin/sh", "-c", "echo ran; exit 7", kind=FORKS)
    pid = fork(waiting)

    assert (0, 0) == os.waitpid(pid, os.WNOHANG)
    assert (b"", b"ran\n") == said(waiting)
    assert 7 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_is_the_stub_and_nobody_can_open_its_descriptors(launch, fork):
    pid = fork(launch("/bin/true", kind=FORKS, user=65534))

    with open(f"/proc/{pid}/comm", encoding="ascii") as file:
        assert "aisbx-init\n" == file.read()
    assert 0 == os.stat(f"/proc/{pid}/fd").st_uid  # proc(5): root's when not dumpable


def test_it_leads_a_session(launch, fork):
    waiting = launch("/bin/sh", "-c", SESSION, kind=FORKS)
    pid = fork(waiting)
    shown = said(waiting)[1].split()

    assert [str(pid).encode(), str(os.getpid()).encode()] == shown[:2]
    assert [shown[0], shown[0], b"0"] == shown[2:5]


def test_its_input_is_the_terminal_of_its_session(launch, fork):
    master, slave = pty.openpty()
    waiting = launch("/bin/sh", "-c", SESSION, kind=WITH_TERMINAL, stdin=slave)
    os.close(slave)
    fork(waiting)
    shown = said(waiting)[1].split()
    os.close(master)

    assert shown[0] == shown[3] == shown[5]
    assert b"0" != shown[4]


def test_an_input_that_is_no_terminal_is_reported(launch, fork):
    waiting = launch("/bin/true", kind=WITH_TERMINAL)
    fork(waiting)

    assert (b"ioctl 25", b"") == said(waiting)  # ENOTTY


def test_it_ends_with_the_runtime(launch, fork):
    waiting = launch("/bin/true", kind=FORKS)
    pid = fork(waiting)
    waiting.channel.close()

    assert 1 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_without_a_first_start_there_is_no_fork(launch):
    waiting = launch("/bin/true", kind=FORKS)
    waiting.channel.close()

    assert 1 == waiting.status()


def test_a_fork_that_is_refused_is_reported(launch):
    waiting = launch("/bin/true", kind=FORKS, user=65533, processes=0)
    waiting.channel.peer.send(b"g")

    assert b"clone 11" == waiting.channel.peer.recv(32)  # EAGAIN
    assert 1 == waiting.status()
