"""Terminals on the caller's side: one fd in one message, and relaying both ways."""

from __future__ import annotations

import array
import os
import socket
import termios

import pytest

from aisbx_runtime.oci import console
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.kernel import terminal
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import reap


def pty() -> tuple[int, int]:
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    return master, terminal.unlock_and_open_peer(master)


@pytest.mark.parametrize(
    ("wanted", "path", "hint"),
    [(True, "", "pass --console-socket"), (False, "/x", "leave --console-socket away")],
)
def test_a_terminal_and_a_place_to_send_it_to_belong_together(wanted, path, hint):
    with pytest.raises(Failure) as caught:
        console.check(wanted=wanted, console_socket=path)

    assert hint in caught.value.hint


@pytest.mark.parametrize(("wanted", "path"), [(True, "/x"), (False, "")])
def test_both_or_neither_are_fine(wanted, path):
    console.check(wanted=wanted, console_socket=path)


def test_a_terminal_is_one_message_with_one_fd(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/s")
    listener.listen()
    connection_fd = console.connect(f"{tmp_path}/s")
    assert os.get_inheritable(connection_fd) is False
    master, peer = pty()
    console.send(connection_fd, master, "/dev/pts/7")
    accepted, _ = listener.accept()
    text, ancillary, _, _ = accepted.recvmsg(4096, socket.CMSG_SPACE(16))
    (level, kind, data) = ancillary[0]
    fds = array.array("i", data)

    assert (b"/dev/pts/7", 1, socket.SOL_SOCKET, socket.SCM_RIGHTS) == (
        text,
        len(fds),
        level,
        kind,
    )
    assert os.fstat(master).st_rdev == os.fstat(fds[0]).st_rdev
    # The connection itself stays open: its owner closes it.
    os.fstat(connection_fd)
    for fd in (connection_fd, master, peer, fds[0]):
        os.close(fd)
    accepted.close()
    listener.close()


def test_a_socket_that_is_not_there_is_named_without_words_of_strerror(tmp_path):
    with pytest.raises(Failure) as caught:
        console.connect(f"{tmp_path}/none")

    assert f"{tmp_path}/none" in caught.value.what
    assert "connect: ENOENT" == caught.value.why


def test_a_path_that_is_too_long_for_a_socket_is_a_failure(tmp_path):
    with pytest.raises(Failure, match="cannot connect"):
        console.connect(f"{tmp_path}/{'x' * 120}")


def relay_in_child(script, *, keys=b"", raw=None):
    """Relay between a pty of the user and one of a container, whose process is `script`.

    Return what the user sees.
    """
    user_master, user_peer = pty()
    terminal.set_size(user_peer, 24, 80)
    pid, pidfd = clone3()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            os.dup2(user_peer, 0)
            os.dup2(user_peer, 1)
            os.close(user_master)
            code = _relay(script)
        finally:
            os._exit(code)
    os.close(user_peer)
    os.write(user_master, keys)
    seen = b""
    try:
        while chunk := os.read(user_master, 4096):
            seen += chunk
            if raw is not None and b"ready" in seen:
                raw(user_master)
                raw = None
    except OSError:
        # EIO: nobody has the other end open any more.
        pass
    status = reap(pidfd)
    os.close(pidfd)
    os.close(user_master)
    return seen, status


def _relay(script) -> int:
    relay = console.Relay()
    master, peer = pty()
    console.send(relay.fd, master, "/dev/pts/0")
    os.close(master)
    relay.receive()
    pid, pidfd = clone3()
    if pid == 0:
        os.setsid()
        for fd in (0, 1, 2):
            os.dup2(peer, fd)
        os.execv("/bin/sh", ["sh", "-c", script])
    os.close(peer)
    relay.start()
    try:
        relay.run(pidfd)
    finally:
        relay.stop()
    return reap(pidfd)


def test_what_the_container_says_is_seen_to_its_last_byte():
    seen, status = relay_in_child("head -c 200000 /dev/zero | tr '\\0' x; echo end; exit 3")

    assert (200_000, 3) == (seen.count(b"x"), status)
    assert seen.endswith(b"end\r\n")


def test_the_container_has_the_users_size():
    seen, _ = relay_in_child("stty size")

    assert b"24 80\r\n" == seen


def test_keys_reach_the_container():
    def answer(master):
        os.write(master, b"abc\r")

    # -echo: what is seen twice would be the user's terminal, not yet raw.
    seen, _ = relay_in_child('stty -echo; echo ready; read x; echo "got $x"', raw=answer)

    assert b"got abc" in seen


def test_keys_are_the_containers_to_interpret():
    def interrupt(master):
        assert 0 == termios.tcgetattr(master)[3] & (termios.ICANON | termios.ISIG | termios.ECHO)
        os.write(master, b"\x03")

    script = "stty raw -echo; echo ready; head -c 1 | od -An -tx1"
    seen, status = relay_in_child(script, raw=interrupt)

    assert (True, 0) == (b"03" in seen, status)


def test_a_container_that_sends_no_terminal_is_told():
    relay = console.Relay()
    os.close(relay.fd)
    with pytest.raises(Failure, match="did not send its terminal"):
        relay.receive()
    relay._near.close()
