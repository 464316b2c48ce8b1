"""The loopback of a new network namespace."""

from __future__ import annotations

import errno
import socket

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import namespaces, network
from tests.oci.forked import forked

pytestmark = pytest.mark.root


@forked
def test_loopback_answers_once_it_is_up():
    namespaces.unshare(namespaces.CLONE_NEWNET)
    listener = socket.socket()
    listener.bind(("0.0.0.0", 0))  # noqa: S104
    listener.listen()
    address = ("127.0.0.1", listener.getsockname()[1])
    with socket.socket() as early, pytest.raises(OSError, match="unreachable"):
        early.connect(address)
    network.bring_up("lo")
    with socket.socket() as late:
        late.connect(address)


@forked
def test_an_unknown_interface_is_named():
    with pytest.raises(KernelError) as caught:
        network.bring_up("nosuch0")

    assert (errno.ENODEV, "nosuch0") == (caught.value.errno, caught.value.filename)
