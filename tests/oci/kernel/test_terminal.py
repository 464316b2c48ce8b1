"""Pseudo-terminals, by fd."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import terminal
from tests.oci.forked import forked


@pytest.fixture
def master():
    fd = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    yield fd
    os.close(fd)


def test_the_peer_is_the_other_end_and_its_number_the_name(master):
    peer = terminal.unlock_and_open_peer(master)
    number = terminal.pty_number(master)

    assert f"/dev/pts/{number}" == os.ttyname(peer)
    assert os.get_inheritable(peer) is False
    os.close(peer)


def test_what_is_no_terminal_has_no_peer():
    fd = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(KernelError) as caught:
        terminal.unlock_and_open_peer(fd)
    os.close(fd)

    assert ("ioctl TIOCGPTPEER", errno.ENOTTY) == (caught.value.syscall, caught.value.errno)


def test_a_size_is_set_and_copied(master):
    peer = terminal.unlock_and_open_peer(master)
    terminal.set_size(peer, 24, 80)

    assert (80, 24) == os.get_terminal_size(peer)
    other = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    terminal.copy_size(peer, other)

    assert (80, 24) == os.get_terminal_size(other)
    os.close(other)
    os.close(peer)


@pytest.mark.root
@forked
def test_a_session_leader_gets_a_controlling_terminal():
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    peer = terminal.unlock_and_open_peer(master)
    os.setsid()
    with pytest.raises(OSError, match="/dev/tty"):
        os.open("/dev/tty", os.O_RDWR)
    terminal.make_controlling(peer)

    assert os.isatty(os.open("/dev/tty", os.O_RDWR))


@pytest.mark.root
@forked
def test_who_leads_no_session_gets_none():
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    peer = terminal.unlock_and_open_peer(master)
    with pytest.raises(KernelError) as caught:
        terminal.make_controlling(peer)

    assert ("ioctl TIOCSCTTY", errno.EPERM) == (caught.value.syscall, caught.value.errno)
