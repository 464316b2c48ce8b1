"""The stub tells create that it runs: a limit may have made its execve fatal."""

from __future__ import annotations

import json
import socket

import pytest


@pytest.fixture
def ends():
    create, stub = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    create.settimeout(20)
    yield create, stub
    create.close()
    stub.close()


def test_it_says_so_and_lets_the_channel_go(launch, ends, kind):
    create, stub = ends
    waiting = launch("/bin/echo", "ran", kind=kind, told=stub)

    assert {"type": "stub"} == json.loads(create.recv(100))
    assert (b"", b"ran\n", 0) == waiting.finish()
    assert b"" == create.recv(100)


def test_a_create_that_is_gone_does_not_stop_it(launch, ends):
    create, stub = ends
    create.close()

    assert (b"", b"ran\n", 0) == launch("/bin/echo", "ran", told=stub).finish()


def test_without_a_descriptor_to_be_started_by_it_says_nothing(launch, ends):
    create, stub = ends
    waiting = launch("/bin/true", kind=0, told=stub, descriptors=3)

    assert b"" == create.recv(100)
    assert 1 == waiting.status()
