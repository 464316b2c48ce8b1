"""A container's cgroup while it lives: freeze, thaw, kill, count, remove.

Works on the directories that create has stored; the first of them is the one that freezes and
kills: cgroup v2, or the freezer of v1. What they are and how they are limited lives in `plan`.
Hot verbs import this: nothing but C modules here.
"""

from __future__ import annotations

import _signal
import errno
import select
import time

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.kernel.signal import SIGKILL

# Bounds of waiting. Nothing is waited for that has not been started to happen.
_FREEZE_MS = 10_000
_EMPTY_MS = 5_000
_SHORT_MS = 5
# A v1 task that sleeps uninterruptibly in the kernel stays FREEZING; now and then one that hands
# work to a frozen one only gets out of it when all are thawed.
_THAW_EVERY = 50
_ROUNDS = 1_000

# What a file of a cgroup, or of a process, answers when that is removed meanwhile.
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ESRCH})


# ---- reading -------------------------------------------------------------------------------------
def is_frozen(paths: tuple[str, ...]) -> bool:
    """Tell whether all processes are frozen. False when there is no cgroup any more."""
    if not paths:
        return False
    events = _read(f"{paths[0]}/cgroup.events")
    if events is not None:
        return "frozen 1" in events
    return (_read(f"{paths[0]}/freezer.state") or "").strip() == "FROZEN"


def pids(paths: tuple[str, ...]) -> list[int]:
    """Return the pids in the cgroup and all below it, as this pid namespace knows them."""
    found = {pid for path in paths[:1] for below in _tree(path) for pid in _pids_in(below)}
    # cgroups(7): 0 stands for a process that has no pid in this pid namespace.
    return sorted(found - {0})


def oom_kills(paths: tuple[str, ...]) -> int:
    """Return how often the kernel killed in this cgroup because of its memory limit."""
    for path in paths:
        for file in ("memory.events", "memory.oom_control"):
            for line in (_read(f"{path}/{file}") or "").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


# ---- acting --------------------------------------------------------------------------------------
def freeze(paths: tuple[str, ...]) -> None:
    """Stop all processes and wait until they stand still.

    Raises OSError ENOENT without a cgroup that can be frozen, ETIMEDOUT when a process does not
    stop; then all are thawed again. See cgroups(7), freezer-subsystem.rst.
    """
    path = _first(paths)
    if not _has_v2(path):
        _freeze_v1(path)
        return
    _write(f"{path}/cgroup.freeze", "1")
    if not _wait_for(path, "frozen 1", _FREEZE_MS):
        _write(f"{path}/cgroup.freeze", "0")
        raise OSError(errno.ETIMEDOUT, "ETIMEDOUT", f"{path}/cgroup.freeze")


def thaw(paths: tuple[str, ...]) -> None:
    """Let all processes go on and wait until they do. Raises OSError as `freeze`."""
    path = _first(paths)
    if not _has_v2(path):
        _write(f"{path}/freezer.state", "THAWED")
        return
    _write(f"{path}/cgroup.freeze", "0")
    # Frozen still, when a cgroup above is.
    if not _wait_for(path, "frozen 0", _FREEZE_MS):
        raise OSError(errno.ETIMEDOUT, "ETIMEDOUT", f"{path}/cgroup.freeze")


def kill(paths: tuple[str, ...], signal: int) -> None:
    """Send `signal` to every process, those that are forked meanwhile too.

    Frozen processes are thawed to die of SIGKILL. No process is no error. Raises OSError EPERM.
    """
    if not paths:
        return
    if signal == SIGKILL and _kill_v2(paths[0]):
        return
    frozen_before = is_frozen(paths)
    hold = not frozen_before and not _has_v2(paths[0]) and _has(f"{paths[0]}/freezer.state")
    sent: set[int] = set()
    for _ in range(_ROUNDS):
        if hold:
            _try_freeze_v1(paths[0])
        try:
            fresh = _send(paths, signal, sent)
        finally:
            if hold:
                _write(f"{paths[0]}/freezer.state", "THAWED")
        if not fresh:
            break
        sent |= fresh
    if frozen_before and signal == SIGKILL:
        thaw(paths)


def remove(paths: tuple[str, ...]) -> None:
    """Remove the cgroups and those below them, waiting 5 s in all for the last to exit.

    One that is gone is no error. One that has processes stays: raises OSError EBUSY of the first,
    after the others are removed.
    """
    first: OSError | None = None
    deadline = time.monotonic() + _EMPTY_MS / 1000
    for path in paths:
        try:
            _remove_tree(path, deadline)
        except OSError as error:
            first = first or error
    if first is not None:
        raise first


# ---- one cgroup ----------------------------------------------------------------------------------
def _first(paths: tuple[str, ...]) -> str:
    if not paths:
        raise OSError(errno.ENOENT, "ENOENT", "cgroup")
    return paths[0]


def _has(path: str) -> bool:
    return os.access(path, os.F_OK)


def _has_v2(path: str) -> bool:
    return _has(f"{path}/cgroup.freeze")


def _tree(path: str) -> list[str]:
    """Return the cgroup and all below it, the parents before their children."""
    found = [path]
    try:
        # A directory of cgroupfs has 2 links and one per child: no listing without children.
        if os.stat(path).st_nlink > 2:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found += _tree(entry.path)
    except OSError as error:
        if error.errno not in _GONE:
            raise
    return found


def _pids_in(path: str) -> list[int]:
    try:
        return [int(line) for line in (_read(f"{path}/cgroup.procs") or "").split()]
    except OSError as error:
        # cgroups(7): a threaded cgroup lists threads only.
        if error.errno == errno.EOPNOTSUPP:
            threads = (_read(f"{path}/cgroup.threads") or "").split()
            return [_process_of(thread) for thread in threads]
        raise


def _process_of(thread: str) -> int:
    """Return the pid of a thread's process, 0 when it has ended."""
    for line in (_read(f"/proc/{thread}/status") or "").splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    return 0


def _send(paths: tuple[str, ...], signal: int, sent: set[int]) -> set[int]:
    """Send `signal` to those not in `sent` and return them."""
    fds: dict[int, int] = {}
    try:
        for pid in pids(paths):
            if pid not in sent:
                try:
                    fds[pid] = os.pidfd_open(pid)
                except ProcessLookupError:
                    # Gone since it was listed.
                    continue
        # Listed again with the pidfds in hand: a pid that was reused meanwhile is not in there.
        still = set(pids(paths)) if fds else set[int]()
        for pid, pidfd in fds.items():
            if pid in still:
                _send_one(pidfd, signal)
    finally:
        for pidfd in fds.values():
            os.close(pidfd)
    return set(fds)


def _send_one(pidfd: int, signal: int) -> None:
    try:
        _signal.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        # It exited by itself: as dead as one that was signalled.
        return


def _kill_v2(path: str) -> bool:
    """Let the kernel kill all, frozen or forking; tell whether it knows how. Linux 5.14."""
    try:
        _write(f"{path}/cgroup.kill", "1")
    except OSError as error:
        if error.errno in _GONE or error.errno == errno.EOPNOTSUPP:
            return False
        raise
    return True


def _try_freeze_v1(path: str) -> None:
    # A fork bomb forks faster than it is read; what is frozen does not fork.
    try:
        _freeze_v1(path)
    except TimeoutError:
        # One that sleeps in the kernel keeps it from FROZEN; the others are signalled all the same.
        return


def _freeze_v1(path: str) -> None:
    state = f"{path}/freezer.state"
    for attempt in range(1, _FREEZE_MS // _SHORT_MS):
        _write(state, "FROZEN")
        now = _read(state)
        if now is None:
            raise OSError(errno.ENOENT, "ENOENT", state)
        if now.strip() == "FROZEN":
            return
        if attempt % _THAW_EVERY == 0:
            _write(state, "THAWED")
        # There is no event for this on v1.
        select.select((), (), (), _SHORT_MS / 1000)
    _write(state, "THAWED")
    raise OSError(errno.ETIMEDOUT, "ETIMEDOUT", state)


def _wait_for(path: str, wanted: str, limit_ms: int) -> bool:
    """Wait until cgroup.events says so, or the cgroup is gone; tell whether it did."""
    try:
        fd = os.open(f"{path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        changes = select.poll()
        # cgroups(7): a change of the file is reported as POLLPRI. Read first, then wait.
        changes.register(fd, select.POLLPRI)
        while wanted not in os.pread(fd, 4096, 0).decode():
            if not changes.poll(limit_ms):
                return False
    except OSError as error:
        if error.errno not in _GONE:
            raise
    finally:
        os.close(fd)
    return True


def _remove_tree(path: str, deadline: float) -> None:
    for one in reversed(_tree(path)):
        _remove_one(one, deadline)


def _remove_one(path: str, deadline: float) -> None:
    if _try_rmdir(path):
        return
    if _has(f"{path}/cgroup.events"):
        left_ms = int((deadline - time.monotonic()) * 1000)
        _wait_for(path, "populated 0", max(left_ms, 0))
    else:
        while time.monotonic() < deadline:
            # v1 has no event for "empty"; a killed process leaves within milliseconds.
            select.select((), (), (), _SHORT_MS / 1000)
            if _try_rmdir(path):
                return
    _rmdir(path)


def _rmdir(path: str) -> None:
    if not _try_rmdir(path):
        raise OSError(errno.EBUSY, "EBUSY", path)


def _try_rmdir(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


# ---- files ---------------------------------------------------------------------------------------
def _read(path: str) -> str | None:
    """Return the text of a cgroup file, None when it or its cgroup is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        chunks: list[bytes] = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return None
    finally:
        os.close(fd)
    return b"".join(chunks).decode()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
