"""Network interfaces: bringing up the loopback of a new network namespace. See netdevice(7)."""

from __future__ import annotations

import _socket
import fcntl
import struct

from aisbx_runtime.oci.errors import kernel_error

SIOCGIFFLAGS = 0x8913  # include/uapi/linux/sockios.h
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def bring_up(interface: str) -> None:
    """Set IFF_UP on an interface of this network namespace."""
    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        request = struct.pack("16sH22x", interface.encode(), 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(control.fileno(), SIOCGIFFLAGS, request))[1]
        request = struct.pack("16sH22x", interface.encode(), flags | IFF_UP)
        fcntl.ioctl(control.fileno(), SIOCSIFFLAGS, request)
    except OSError as error:
        raise kernel_error(error.errno or 0, "ioctl SIOCSIFFLAGS", interface) from None
    finally:
        control.close()
