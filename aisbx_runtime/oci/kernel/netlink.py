"""Network devices by rtnetlink(7): look them up, move them, give them addresses, set them up.

A socket speaks about the network namespace in which it was opened, for good.
"""

from __future__ import annotations

import _socket
import errno
import struct

from aisbx_runtime.oci.errors import kernel_error
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_ROUTE = 0  # include/uapi/linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_CREATE_NEW = 0x600  # NLM_F_CREATE | NLM_F_EXCL
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_GETLINK, RTM_SETLINK = 16, 18, 19  # include/uapi/linux/rtnetlink.h
RTM_NEWADDR, RTM_GETADDR = 20, 22
RT_SCOPE_UNIVERSE = 0
IFLA_IFNAME, IFLA_NET_NS_FD, IFLA_NEW_IFINDEX = 3, 28, 49  # include/uapi/linux/if_link.h
IFF_UP = 0x1  # include/uapi/linux/if.h
# include/uapi/linux/if_addr.h
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_RT_PRIORITY = 1, 2, 4, 8, 9
IFA_F_PERMANENT = 0x80
# What somebody chose for an address, as opposed to its state.
_IFA_F_CHOSEN = 0x02 | 0x10 | 0x100 | 0x200 | 0x400  # NODAD HOMEADDRESS MANAGETEMPADDR ...

_HEADER = "=IHHII"  # struct nlmsghdr: length, type, flags, sequence number, port
_LINK = "=BxHiII"  # struct ifinfomsg: family, type, index, flags, changed flags
_ADDRESS = "=BBBBI"  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = "=HH"  # struct rtattr: length, type
_ATTRIBUTE_TYPE = 0x3FFF  # NLA_TYPE_MASK
_RECEIVE_BYTES = 1 << 16


@record
class Link:
    """A network device, as its namespace knows it."""

    index: int
    name: str


@record
class Address:
    """An address of a device; the bytes are those of the kernel."""

    family: int
    prefix_length: int
    scope: int
    flags: int
    attributes: tuple[tuple[int, bytes], ...]


class Socket:
    """A netlink socket of the network namespace that this process is in while it is made."""

    def __init__(self) -> None:
        """Open it. Raises OSError."""
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._socket = _socket.socket(_socket.AF_NETLINK, kind, NETLINK_ROUTE)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def links(self) -> list[Link]:
        """Return every device of the namespace."""
        found: list[Link] = []
        body = struct.pack(_LINK, _socket.AF_UNSPEC, 0, 0, 0, 0)
        for kind, data in self._dump(RTM_GETLINK, body):
            if kind == RTM_NEWLINK:
                index = struct.unpack_from(_LINK, data)[2]
                names = dict(_attributes(data[struct.calcsize(_LINK) :]))
                found.append(Link(index, names[IFLA_IFNAME].rstrip(b"\0").decode()))
        return found

    def addresses(self, index: int) -> list[Address]:
        """Return the addresses of one device."""
        found: list[Address] = []
        size = struct.calcsize(_ADDRESS)
        for kind, data in self._dump(RTM_GETADDR, struct.pack(_ADDRESS, 0, 0, 0, 0, 0)):
            family, prefix_length, flags, scope, owner = struct.unpack_from(_ADDRESS, data)
            if kind != RTM_NEWADDR or owner != index:
                continue
            values = dict(_attributes(data[size:]))
            if IFA_FLAGS in values:
                # The eight bits of the header are not all.
                flags = struct.unpack("=I", values[IFA_FLAGS])[0]
            kept = tuple(
                [
                    (name, values[name])
                    for name in (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY)
                    if name in values
                ]
            )
            found.append(Address(family, prefix_length, scope, flags, kept))
        return found

    def move(self, index: int, *, namespace_fd: int, new_name: str, new_index: int) -> None:
        """Move a device to another network namespace, under that name and index, and down.

        Raises KernelError EEXIST, EBUSY (taken there), EINVAL (a device that cannot be moved).
        `%d` in the name is the kernel's to fill. See rtnetlink(7), Linux 5.13.
        """
        attributes = (
            (IFLA_NET_NS_FD, struct.pack("=I", namespace_fd)),
            (IFLA_NEW_IFINDEX, struct.pack("=i", new_index)),
            (IFLA_IFNAME, new_name.encode() + b"\0"),
        )
        head = struct.pack(_LINK, _socket.AF_UNSPEC, 0, index, 0, 0)
        self._ask("RTM_SETLINK", RTM_SETLINK, head + _encoded(attributes), new_name)

    def add_address(self, index: int, address: Address) -> None:
        """Give a device an address that it had elsewhere. Raises KernelError."""
        flags = address.flags & _IFA_F_CHOSEN
        attributes = (*address.attributes, (IFA_FLAGS, struct.pack("=I", flags)))
        head = struct.pack(_ADDRESS, address.family, address.prefix_length, 0, address.scope, index)
        body = head + _encoded(attributes)
        self._ask("RTM_NEWADDR", RTM_NEWADDR, body, "", NLM_F_CREATE_NEW)

    def set_up(self, index: int) -> None:
        """Set IFF_UP on a device. Raises KernelError."""
        body = struct.pack(_LINK, _socket.AF_UNSPEC, 0, index, IFF_UP, IFF_UP)
        self._ask("RTM_SETLINK", RTM_SETLINK, body, "")

    def _ask(self, name: str, kind: int, body: bytes, path: str, flags: int = 0) -> None:
        """Send one request and wait for its acknowledgement."""
        self._send(kind, NLM_F_ACK | flags, body)
        for answer, data in self._receive():
            if answer == NLMSG_ERROR:
                number = -struct.unpack_from("=i", data)[0]
                if number:
                    raise kernel_error(number, name, path)
                return
        raise kernel_error(errno.EPROTO, name, path)

    def _dump(self, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Send one request and yield the parts of its answer."""
        self._send(kind, NLM_F_DUMP, body)
        while True:
            for answer, data in self._receive():
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    raise kernel_error(-struct.unpack_from("=i", data)[0], "netlink dump")
                yield answer, data

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        length = struct.calcsize(_HEADER) + len(body)
        self._socket.send(struct.pack(_HEADER, length, kind, NLM_F_REQUEST | flags, 1, 0) + body)

    def _receive(self) -> Iterator[tuple[int, bytes]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        size = struct.calcsize(_HEADER)
        while data:
            length, kind = struct.unpack_from(_HEADER, data)[:2]
            yield kind, data[size:length]
            data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _encoded(attributes: tuple[tuple[int, bytes], ...]) -> bytes:
    size = struct.calcsize(_ATTRIBUTE)
    return b"".join(
        [
            struct.pack(_ATTRIBUTE, size + len(value), name) + value + bytes(-len(value) % 4)
            for name, value in attributes
        ]
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    size = struct.calcsize(_ATTRIBUTE)
    while len(data) >= size:
        length, name = struct.unpack_from(_ATTRIBUTE, data)
        if length < size:
            return
        yield name & _ATTRIBUTE_TYPE, data[size:length]
        data = data[_aligned(length) :]
