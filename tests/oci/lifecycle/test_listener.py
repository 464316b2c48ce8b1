"""Handing over the seccomp listener, over real sockets."""

from __future__ import annotations

import json
import os
import socket

import pytest

from aisbx_runtime.oci import channel
from aisbx_runtime.oci.lifecycle import listener
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.spec import parse
from tests.strategies import base_config


def test_the_state_is_one_message_and_nothing_follows():
    # One more, even an empty one, is EPIPE when whoever listens has hung up meanwhile.
    config = base_config()
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "listenerMetadata": "who"}
    config["linux"]["seccomp"] = seccomp
    spec = parse.spec_of(json.dumps(config), "config.json")
    create, init = channel.pair()
    # Datagrams: an empty one is told from the end.
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    at = World("one", "/bundle")
    at.pid = 7
    at.listener_socket_fd = near.detach()
    read_fd, write_fd = os.pipe()
    init.hand_over(write_fd)
    listener.forward(create, at, spec, {"id": "one"})
    text, fds, _, _ = socket.recv_fds(far, 4096, 1)
    for fd in (read_fd, write_fd, *fds):
        os.close(fd)

    assert {"id": "one"} == json.loads(text)["state"]
    with pytest.raises(BlockingIOError):
        far.recv(1, socket.MSG_DONTWAIT)
    for one in (create, init, far):
        one.close()
