"""Pseudo-terminals by fd. See ioctl_tty(2), pty(7)."""

from __future__ import annotations

import fcntl
import struct

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import kernel_error

TIOCSCTTY = 0x540E  # include/uapi/asm-generic/ioctls.h
TIOCSWINSZ = 0x5414
TIOCGWINSZ = 0x5413
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441
TIOCGPTN = 0x80045430


def unlock_and_open_peer(master_fd: int) -> int:
    """Unlock the pty and return the slave end, by TIOCGPTPEER.

    Never through /dev/pts by name, which the container may have replaced (CVE-2025-52565).
    """
    try:
        fcntl.ioctl(master_fd, TIOCSPTLCK, struct.pack("i", 0))
        return fcntl.ioctl(master_fd, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise kernel_error(error.errno or 0, "ioctl TIOCGPTPEER") from None


def pty_number(master_fd: int) -> int:
    """Return N of /dev/pts/N."""
    return int(struct.unpack("I", fcntl.ioctl(master_fd, TIOCGPTN, struct.pack("I", 0)))[0])


def make_controlling(fd: int) -> None:
    """Make the terminal the controlling one of this session leader."""
    try:
        fcntl.ioctl(fd, TIOCSCTTY, 0)
    except OSError as error:
        raise kernel_error(error.errno or 0, "ioctl TIOCSCTTY") from None


def set_size(fd: int, height: int, width: int) -> None:
    """Set the window size in character cells."""
    fcntl.ioctl(fd, TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def copy_size(source_fd: int, target_fd: int) -> None:
    """Give one terminal the window size of another."""
    size = fcntl.ioctl(source_fd, TIOCGWINSZ, bytes(8))
    fcntl.ioctl(target_fd, TIOCSWINSZ, size)
