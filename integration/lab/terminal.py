"""The line between a guest and the person: a pipe for output, or a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import sys
import termios
import tty
from typing import Self


class Pipe:
    """The output of the guest, written to stdout as it comes."""

    size = ""  # of a terminal, as stty(1) sets it

    def __init__(self) -> None:
        self.host_fd, self.guest_fd = os.pipe()
        self.last = b""  # what has come last
        self.channel = f"null,fd:{self.guest_fd}"  # UML: input, output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.host_fd)
        self.give_away()

    def give_away(self) -> None:
        """Close the guest's end here."""
        if self.guest_fd >= 0:
            os.close(self.guest_fd)
        self.guest_fd = -1

    def pump(self, timeout_s: float) -> bool:
        """Write what comes within the time; return False when nothing more will come."""
        if not select.select([self.host_fd], [], [], max(0.0, timeout_s))[0]:
            return True
        piece = b""
        with contextlib.suppress(OSError):  # EIO: the other end of a terminal is closed
            piece = os.read(self.host_fd, 1 << 16)
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        self.last = (self.last + piece)[-4096:]
        return bool(piece)

    def drain(self) -> None:
        """Write what has come already."""
        while select.select([self.host_fd], [], [], 0)[0] and self.pump(0):
            pass


class Terminal(Pipe):
    """The person's terminal, handed through while the guest lives."""

    def __init__(self) -> None:
        self.last = b""
        self.host_fd, self.guest_fd = pty.openpty()
        self.channel = f"fd:{self.guest_fd}"
        columns, rows = os.get_terminal_size(0)
        self.size = f"rows {rows} columns {columns}"
        self.before = termios.tcgetattr(0)

    def __enter__(self) -> Self:
        tty.setraw(0)
        return self

    def __exit__(self, *_: object) -> None:
        termios.tcsetattr(0, termios.TCSAFLUSH, self.before)
        super().__exit__()

    def pump(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([0, self.host_fd], [], [], max(0.0, timeout_s))
        if 0 in ready:
            os.write(self.host_fd, os.read(0, 1024))
        return super().pump(0) if self.host_fd in ready else True
