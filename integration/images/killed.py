"""A child that pulls, and dies at the moment that is chosen for it, by SIGKILL.

The moments are the calls by which anything changes outside of it: files made, renamed, linked,
removed; locks; programs started. Python's own audit events name them.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = frozenset({
    "fcntl.flock", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.symlink", "subprocess.Popen",
})  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR


def _counts(event: str, arguments: tuple) -> bool:
    if event == "open":
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & WRITING)
    return event in EVENTS


def run(work: Callable[[], None], die_at: int = 0, after_s: float = 0) -> tuple[int, list[str]]:
    """Call work in a child; let it die before its die_at-th event, or so long after that.

    Returns the wait status and the events that the child had come to.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read_fd)
            count = 0

            def seen(event: str, arguments: tuple) -> None:
                nonlocal count
                if not _counts(event, arguments):
                    return
                count += 1
                os.write(write_fd, f"{event}\n".encode())
                if count == die_at:
                    if not after_s:
                        os.kill(os.getpid(), signal.SIGKILL)
                    # The default action ends the process without a word, as SIGKILL would.
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.setitimer(signal.ITIMER_REAL, after_s)

            sys.addaudithook(seen)
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(write_fd)
    with open(read_fd) as events:
        found = events.read().split()
    return os.waitpid(pid, 0)[1], found
