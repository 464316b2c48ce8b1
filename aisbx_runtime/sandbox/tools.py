"""The programs that work for us: found at start, run so that they end when we do.

Each runs with the least that it needs: no stdin, output into memory, killed when we are
(setpriv --pdeathsig), and it inherits the lock of the workplace it writes in, so that nobody
sweeps that away while a program outlives us for a moment.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Program and Debian package.
PACKAGES = {
    "skopeo": "skopeo",
    "umoci": "umoci",
    "zstd": "zstd",
    "setpriv": "util-linux",
    "sync": "coreutils",
}
POLL_MS = 200
OUTPUT_BYTES = 16 << 20
LINES_KEPT = 5


class ToolError(Exception):
    """A program failed. code: its exit code, negative for a signal. lines: its last words."""

    def __init__(self, program: str, code: int, lines: list[str]) -> None:
        super().__init__(f"{program}: exit code {code}")
        self.program = program
        self.code = code
        self.lines = lines

    @property
    def why(self) -> str:
        """What it said last, in one line, with nothing that a terminal would obey."""
        if self.code < 0:
            return f"{self.program} was killed by signal {-self.code}"
        said = self.lines[-1] if self.lines else f"exit code {self.code}"
        return f"{self.program}: {_message(said)}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program may write: a workplace, and the fd of its lock."""

    path: str
    lock_fd: int


def need(*names: str) -> None:
    """Raise HostError with the one line of apt that helps, where a program is missing."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        raise HostError(
            f"missing on this machine: {', '.join(missing)}",
            where=f"PATH={os.environ.get('PATH', '')}",
            hint=f"as root: apt-get install --no-install-recommends {packages}",
        )


def run(
    arguments: Sequence[str],
    place: Place,
    *,
    watch: Callable[[int], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program to its end and return its output; call watch(pid) now and then meanwhile.

    Raises ToolError where it fails.
    """
    out_fd = os.memfd_create("stdout", os.MFD_CLOEXEC)
    error_fd = os.memfd_create("stderr", os.MFD_CLOEXEC)
    try:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out_fd,
            stderr=error_fd,
            pass_fds=(place.lock_fd,),
            umask=0o022,
            env={**os.environ, "TMPDIR": place.path, **(environment or {})},
        )
        try:
            _wait(process, watch)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode != 0:
            raise ToolError(arguments[0], process.returncode, _last_lines(error_fd))
        return os.pread(out_fd, OUTPUT_BYTES, 0)
    finally:
        os.close(out_fd)
        os.close(error_fd)


def _wait(process: subprocess.Popen[bytes], watch: Callable[[int], None] | None) -> None:
    pidfd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not poll.poll(POLL_MS if watch else None):
            if watch is not None:
                watch(process.pid)
    finally:
        os.close(pidfd)
    process.wait()


def bytes_done(pid: int, field: str) -> int:
    """Return how many bytes a process has read (`rchar`) or written (`wchar`) so far.

    0 when it has ended. See proc_pid_io(5).
    """
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            return int(dict(line.split(": ") for line in file)[field])
    except (OSError, ValueError, KeyError):
        return 0


def _last_lines(fd: int) -> list[str]:
    size = os.fstat(fd).st_size
    text = os.pread(fd, 1 << 16, max(0, size - (1 << 16))).decode(errors="replace")
    lines = [printable(line.strip()) for line in text.splitlines() if line.strip()]
    return lines[-LINES_KEPT:]


def _message(line: str) -> str:
    """Return the message of a line of logrus (skopeo): `time=... level=fatal msg="..."`."""
    _, found, text = line.partition(" msg=")
    if not found or not text.startswith('"'):
        return line
    try:
        message, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except ValueError:
        return line
    return printable(str(message))


def printable(text: str) -> str:
    """Return text from a stranger for a terminal or a log: control characters are spelled out."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
