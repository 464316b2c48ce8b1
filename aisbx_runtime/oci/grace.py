"""An RCU grace period, begun before Python has imported anything.

Whoever moves a process between cgroups waits for one, 10 to 15 ms, when nobody has moved any for
a while (cgroup_threadgroup_rwsem, kernel/cgroup/cgroup.c). A process of ours that moves itself to
where it is lets that time pass during our imports; the move that counts then finds it over.
Only on hosts where a verb has to move something: with cgroup v2, create is born where it belongs.
"""

from __future__ import annotations

import posix

_V1 = "/sys/fs/cgroup/freezer/cgroup.procs"
_V2 = "/sys/fs/cgroup/cgroup.procs"
_FILES = {"create": (_V1,), "run": (_V1,), "exec": (_V1, _V2)}


def begin(words: list[str]) -> int:
    """Start a grace period for the verb in `words`; return the pid to give to `end`, or 0."""
    for word in words:
        if word in _FILES:
            return _begin(_FILES[word])
    return 0


def _begin(files: tuple[str, ...]) -> int:
    for file in files:
        try:
            fd = posix.open(file, posix.O_WRONLY | posix.O_CLOEXEC)
        except OSError:
            # Another cgroup version, or not ours to write.
            continue
        pid = posix.fork()
        if pid == 0:
            try:
                # 0 is the writer itself (cgroups(7)).
                posix.write(fd, b"0")
            finally:
                posix._exit(0)  # pyright: ignore[reportPrivateUsage]
        posix.close(fd)
        return pid
    return 0


def end(pid: int) -> None:
    """Reap the process: none of the runtime's may outlive it (contract.md, rule 6)."""
    if pid:
        try:
            posix.waitpid(pid, 0)
        except ChildProcessError:
            return
