"""What a test may leave behind: nothing. Compares the session before and after each test."""

from __future__ import annotations

import os
import select
import signal
import time

from integration.host import MARK, hierarchies

PATIENCE_S = 15


def mounts() -> set[str]:
    """Return the mounts of the session's private mount namespace."""
    with open("/proc/self/mountinfo") as lines:
        found = {" ".join(line.split()[2:5]) for line in lines}
    # podman keeps its storage and its network namespaces mounted on themselves.
    return {line for line in found if not line.endswith(("/graph/overlay", " /run/netns"))}


def cgroups() -> set[str]:
    """Return the directories that bear our mark, in all hierarchies."""
    found = set()
    for top in set(hierarchies().values()):
        for parent, names, _ in os.walk(top):
            found.update(f"{parent}/{name}" for name in names if MARK in f"{parent}/{name}")
    return found


def states(roots: tuple[str, ...]) -> set[str]:
    """Return what lies in the state roots, the cache of compiled filters apart."""
    return {
        f"{root}/{name}"
        for root in roots
        if os.access(root, os.R_OK | os.X_OK)  # root's own are out of a plain user's reach
        for name in os.listdir(root)
        if name != ".cache"
    }


def _stat(pid: int) -> tuple[str, int, str] | None:
    try:
        with open(f"/proc/{pid}/stat") as text:
            name, rest = text.read().rsplit(")", 1)
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = rest.split()
    return words[0], int(words[1]), name.split("(", 1)[1]


def descendants() -> dict[int, str]:
    """Return the processes below this one: pid -> state and name."""
    table = {int(word): _stat(int(word)) for word in os.listdir("/proc") if word.isdigit()}
    found: dict[int, str] = {}
    parents = {os.getpid()}
    while parents:
        children = {
            pid: f"{entry[0]} {entry[2]}"
            for pid, entry in table.items()
            if entry is not None and entry[1] in parents
        }
        found.update(children)
        parents = set(children)
    return found


def reap(expected: set[int]) -> None:
    """Reap the adopted children that have ended, but none of those expected to live on."""
    for pid in descendants():
        if pid in expected:
            continue
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue  # the child of somebody else below us


def wait_for_end(expected: set[int]) -> dict[int, str]:
    """Wait until only expected processes are left; return what is still there."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        reap(expected)
        extra = {pid: name for pid, name in descendants().items() if pid not in expected}
        remaining = deadline - time.monotonic()
        if not extra or remaining <= 0:
            return extra
        for pid in extra:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                select.select([pidfd], [], [], min(remaining, 0.5))
            finally:
                os.close(pidfd)


class Snapshot:
    """The state of the session before a test."""

    def __init__(self, *state_roots: str) -> None:
        self.state_roots = state_roots
        self.states = states(state_roots)
        self.mounts = mounts()
        self.cgroups = cgroups()
        self.processes = set(descendants())

    def leaks(self) -> list[str]:
        """Return what is left, one sentence each, and remove the processes and cgroups."""
        found = []
        for pid, name in wait_for_end(self.processes).items():
            found.append(f"process {pid}: {name}")
            os.kill(pid, signal.SIGKILL)
        wait_for_end(self.processes)
        found += [f"mount {line}" for line in sorted(mounts() - self.mounts)]
        for path in sorted(cgroups() - self.cgroups, reverse=True):
            found.append(f"cgroup {path}")
            os.rmdir(path)
        found += [f"state {path}" for path in sorted(states(self.state_roots) - self.states)]
        return found
