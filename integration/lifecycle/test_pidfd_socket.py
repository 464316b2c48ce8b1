"""`--pidfd-socket`: the caller receives a pidfd of the new process, as go-runc 1.2 asks for it."""

from __future__ import annotations

import array
import os
import select
import socket

import pytest

from integration.differences import known_of_runc
from integration.runtime import TIMEOUT_S


@pytest.fixture
def listener(scratch):
    """A socket to be named, and what to receive from."""
    path = f"{scratch}/pidfd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen(1)
        listening.settimeout(TIMEOUT_S)
        yield path, listening
    os.unlink(path)


@pytest.fixture(autouse=True)
def _has_the_flag(runtime):
    known_of_runc(runtime, "1.1 has no --pidfd-socket", seen=runtime.name == "runc")


def received(listening):
    """Return the words of the message and the pidfd."""
    connection, _ = listening.accept()
    with connection:
        connection.settimeout(TIMEOUT_S)
        words, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
        ((_, _, data),) = ancillary
        return words.decode(), array.array("i", data)[0]


def pid_of(pidfd):
    with open(f"/proc/self/fdinfo/{pidfd}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


def test_create_sends_a_pidfd_of_container_init(runtime, bundle, listener):
    path, listening = listener
    bundle.script("exit 3")
    container = runtime.create(bundle, "--pidfd-socket", path)
    words, pidfd = received(listening)
    named = pid_of(pidfd)
    container.start()
    ended = select.select([pidfd], [], [], TIMEOUT_S)[0] == [pidfd]
    os.close(pidfd)

    assert (words, named, ended) == ("standard", container.pid, True)
    assert container.wait() == 3


def test_run_sends_a_pidfd(runtime, bundle, listener):
    path, listening = listener
    result = runtime.run(bundle, "exit 3", f"--pidfd-socket={path}")
    words, pidfd = received(listening)
    os.close(pidfd)

    assert (result.code, words) == (3, "standard")


def test_exec_sends_a_pidfd_of_its_process(runtime, bundle, listener):
    path, listening = listener
    container = runtime.started(bundle)
    result = container.exec("sh", "-c", "exit 4", flags=("--pidfd-socket", path))
    words, pidfd = received(listening)
    os.close(pidfd)

    assert (result.code, words) == (4, "setns")


def test_a_socket_that_nobody_listens_on_undoes_create(runtime, bundle):
    result = runtime.try_create(bundle, "--pidfd-socket", f"{bundle.path}/none")

    assert result.code == 1
    assert runtime("state", bundle.id).code == 1


def test_a_socket_that_nobody_listens_on_fails_exec(runtime, bundle):
    container = runtime.started(bundle)

    assert container.exec("true", flags=("--pidfd-socket", f"{bundle.path}/none")).code == 255
