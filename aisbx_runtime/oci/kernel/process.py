"""Processes: clone3, execveat, prctl, close_range. Signals by pidfd live in `signal`.

What a child does after its birth lives in `init`.
"""

from __future__ import annotations

from aisbx_runtime.oci.errors import kernel_error
from aisbx_runtime.oci.kernel.call import NUMBERS, check, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

CLONE_PIDFD = 0x1000  # include/uapi/linux/sched.h
CLONE_PARENT = 0x8000
CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17

PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLOSE_RANGE_CLOEXEC = 4  # include/uapi/linux/close_range.h
AT_EMPTY_PATH = 0x1000
MAX_FD = 0xFFFFFFFF


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size",
            "tls", "set_tid", "set_tid_size", "cgroup",
        )
    )  # fmt: skip


_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_child = ctypes.pythonapi.PyOS_AfterFork_Child
_after_fork_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_syscall = libc.syscall


def clone3(flags: int = 0, *, cgroup_fd: int = -1) -> tuple[int, int]:
    """Fork with namespaces: return (pid, pidfd) to the parent and (0, -1) to the child.

    The child is as after os.fork: it goes on from here. The pidfd is close-on-exec. With
    `cgroup_fd` the child is born in that cgroup v2. The process must have one thread.
    Raises KernelError EPERM, ENOSPC (namespace limit), EAGAIN, EBUSY (threaded cgroup).
    See clone(2), Linux 5.7.
    """
    pidfd = ctypes.c_int(-1)
    args = _CloneArgs()
    args.flags = flags | CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup_fd >= 0 else 0)
    args.pidfd = ctypes.addressof(pidfd)
    # clone(2): with CLONE_PARENT the exit signal is the one of the caller.
    args.exit_signal = 0 if flags & CLONE_PARENT else SIGCHLD
    args.cgroup = max(cgroup_fd, 0)
    number, size = ctypes.c_long(NUMBERS["clone3"]), ctypes.c_size_t(ctypes.sizeof(args))
    _before_fork()
    pid = _syscall(number, ctypes.byref(args), size)
    if pid == 0:
        _after_fork_child()
        return 0, -1
    failed = ctypes.get_errno()
    _after_fork_parent()
    if pid < 0:
        raise kernel_error(failed, "clone3")
    return pid, pidfd.value


def execveat(fd: int, args: list[bytes], env: list[bytes]) -> None:
    """Become the program that `fd` holds. Returns only by raising KernelError. See execveat(2)."""
    argv = (ctypes.c_char_p * (len(args) + 1))(*args, None)
    envp = (ctypes.c_char_p * (len(env) + 1))(*env, None)
    check(libc.execveat(fd, b"", argv, envp, AT_EMPTY_PATH), "execveat", "")


def prctl(option: int, *values: int) -> None:
    """Set one attribute of this process: PR_* `option`. See prctl(2)."""
    words = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    check(libc.prctl(ctypes.c_int(option), *words), "prctl")


def close_range(first: int, last: int, flags: int = 0) -> None:
    """Close the fds from `first` to `last`, or mark them close-on-exec. See close_range(2)."""
    check(
        libc.syscall(
            ctypes.c_long(NUMBERS["close_range"]),
            ctypes.c_uint(first),
            ctypes.c_uint(last),
            ctypes.c_uint(flags),
        ),
        "close_range",
    )
