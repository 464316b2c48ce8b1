"""rtnetlink in a network namespace of the test's own."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import netlink
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNET, unshare
from tests.oci.forked import forked
from tests.oci.world import open_fds

pytestmark = pytest.mark.root


def alone() -> netlink.Socket:
    """Leave the network of this machine; return a socket of the new one."""
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed: apt-get install iproute2")
    unshare(CLONE_NEWNET)
    return netlink.Socket()


def ip(text: str) -> str:
    return subprocess.run(["ip", *text.split()], capture_output=True, check=True, text=True).stdout


@forked
def test_a_new_namespace_has_loopback_alone():
    assert [netlink.Link(1, "lo")] == alone().links()


@forked
def test_a_device_is_set_up():
    socket = alone()
    socket.set_up(1)

    assert "UP" in ip("link show lo")


@forked
def test_addresses_are_those_of_one_device():
    socket = alone()
    ip("link set lo up")
    ip("addr add 192.0.2.7/24 dev lo")
    found = socket.addresses(1)

    assert {"127.0.0.1", "192.0.2.7"} == {
        ".".join(map(str, dict(one.attributes)[netlink.IFA_LOCAL]))
        for one in found
        if one.family == 2
    }
    assert [] == socket.addresses(2)


@forked
def test_an_address_can_be_given_again():
    socket = alone()
    ip("addr add 192.0.2.7/24 brd 192.0.2.255 dev lo")
    (address,) = socket.addresses(1)
    ip("addr del 192.0.2.7/24 dev lo")
    socket.add_address(1, address)

    assert [address] == socket.addresses(1)


@forked
def test_an_address_that_is_there_is_an_error():
    socket = alone()
    ip("addr add 192.0.2.7/24 dev lo")
    (address,) = socket.addresses(1)
    with pytest.raises(KernelError) as caught:
        socket.add_address(1, address)

    assert ("RTM_NEWADDR", errno.EEXIST) == (caught.value.syscall, caught.value.errno)


@forked
def test_many_devices_are_more_than_one_answer():
    socket = alone()
    for number in range(60):
        ip(f"link add near{number} type veth peer name far{number}")

    assert 121 == len({one.index for one in socket.links()})


@forked
def test_a_device_that_is_not_there_cannot_be_moved():
    socket = alone()
    namespace_fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    with pytest.raises(KernelError) as caught:
        socket.move(77, namespace_fd=namespace_fd, new_name="x", new_index=77)

    assert ("RTM_SETLINK", errno.ENODEV, "x") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@forked
def test_a_closed_socket_leaves_nothing_open():
    before = open_fds()
    alone().close()

    assert before == open_fds()
