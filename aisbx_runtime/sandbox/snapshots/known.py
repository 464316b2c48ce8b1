"""Which content a file had when it was last read, so that it is not read again.

A file is known by its inode, size and both times. The change time is the kernel's alone: nothing
in a container can set it. What has changed in the very tick in which it was read is not trusted;
nor is anything while a process can write by a shared mapping, which tells the time of its first
write to a page only.
"""

from __future__ import annotations

import json
import os
import time

from aisbx_runtime.sandbox.snapshots.tree_file import is_digest
from aisbx_runtime.sandbox.store import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    # device, inode, size, time of content, time of change (ns)
    Identity = tuple[int, int, int, int, int]

VERSION = 1
# In the bundle.
FILE = "known.json"
# clock_gettime(2): the clock that the kernel takes for the times of files.
CLOCK_REALTIME_COARSE = 5
_MAPPED_ELSEWHERE = ("/memfd:", "/dev/", "/SYSV", "anon_inode:", "[")


def now_ns() -> int:
    """Return the time that a file would get which is changed now."""
    return time.clock_gettime_ns(CLOCK_REALTIME_COARSE)


def wait_for_next_tick() -> None:
    """Return when what was changed till now is settled: after some milliseconds at most."""
    began = time.time_ns()
    while now_ns() <= began:
        time.sleep(0.001)


def identity_of(found: os.stat_result) -> Identity:
    """Return what a file is known by."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def load(path: str) -> dict[Identity, str]:
    """Return the digests that were saved; nothing where there are none, or they are spoilt."""
    try:
        with open(path, "rb") as file:
            value = json.load(file)
        if value["version"] != VERSION:
            return {}
        found: dict[Identity, str] = {}
        for device, inode, size, mtime, ctime, digest in value["files"]:
            if is_digest(digest):
                found[device, inode, size, mtime, ctime] = digest
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        # It only saves time.
        return {}
    return found


def save(path: str, known: dict[Identity, str]) -> None:
    """Save digests for the next snapshot."""
    rows = [[*identity, digest] for identity, digest in known.items()]
    write_whole(path, json.dumps({"version": VERSION, "files": rows}).encode())


def settled(found: os.stat_result, moment_ns: int) -> bool:
    """Tell whether any change after the moment (`now_ns`) will be seen in the file's times."""
    return found.st_ctime_ns < moment_ns


def writes_by_mapping(processes: Iterable[int]) -> bool:
    """Tell whether one of these processes can change a file without the file's times telling."""
    for process in processes:
        try:
            with open(f"/proc/{process}/maps", "rb") as file:
                lines = file.read().decode(errors="replace").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            return True
        for line in lines:
            # proc_pid_maps(5): address, permissions, offset, device, inode, path
            fields = line.split(None, 5)
            if len(fields) < 6 or fields[1][1] != "w" or fields[1][3] != "s":
                continue
            if not fields[5].startswith(_MAPPED_ELSEWHERE):
                return True
    return False
