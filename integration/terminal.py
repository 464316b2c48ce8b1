"""Terminals for tests: a console socket as conmon has it, and a program run on a real pty."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

from integration.runtime import PATH, TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_until(fd: int, word: bytes | None) -> bytes:
    """Read from a pty master until a word has come, or with None until the other end is closed."""
    text = b""
    deadline = time.monotonic() + TIMEOUT_S
    while word is None or word not in text:
        readable, _, _ = select.select([fd], [], [], deadline - time.monotonic())
        assert readable, f"no {word!r} in {text!r}"
        try:
            chunk = os.read(fd, 4096)
        except OSError:  # EIO: the last slave was closed, pty(7)
            chunk = b""
        if not chunk:
            assert word is None, f"no {word!r} in {text!r}"
            break
        text += chunk
    return text


class ConsoleSocket:
    """The socket of --console-socket; take() does what conmon does after create."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.settimeout(TIMEOUT_S)
        self.message = b""
        self.fds: list[int] = []
        self.rest = b""

    def take(self) -> int:
        """Accept and receive everything sent until the peer closes; return the master."""
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(TIMEOUT_S)
            self.message, self.fds, _, _ = socket.recv_fds(connection, 4096, 8)
            self.rest = connection.recv(4096)
        assert self.fds, "no descriptor came"
        return self.fds[0]

    def close(self) -> None:
        self._listener.close()
        for fd in self.fds:
            os.close(fd)


class OnPty:
    """A program that has a pty as its controlling terminal and standard descriptors."""

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.master, slave = pty.openpty()
        self._process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"PATH": PATH, "TERM": "xterm"} if env is None else env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(TIMEOUT_S)
        os.close(self.master)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, word: str) -> str:
        return read_until(self.master, word.encode()).decode(errors="replace")

    def finish(self) -> tuple[int, str]:
        """Return the exit code and what was written until the end."""
        text = read_until(self.master, None).decode(errors="replace")
        return self._process.wait(TIMEOUT_S), text

    def settings(self) -> list[object]:
        return termios.tcgetattr(self.master)
