"""libc and the errno check; which calls there are lives in the modules beside this one."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

# PyDLL keeps the GIL: no other thread can run inside a half-made fork.
libc = ctypes.PyDLL(None, use_errno=True)

_syscall = libc.syscall
_syscall.restype = ctypes.c_long

# Numbers from 424 on are the same on every architecture; glibc exports the rest as functions,
# but for these few (include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl).
_X86_64 = {
    "keyctl": 250, "seccomp": 317, "bpf": 321,
    "set_mempolicy": 238, "ioprio_set": 251, "sched_setattr": 314,
}  # fmt: skip
_ARM64 = {
    "keyctl": 219, "seccomp": 277, "bpf": 280,
    "set_mempolicy": 237, "ioprio_set": 30, "sched_setattr": 274,
}  # fmt: skip
NUMBERS = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
    **(_ARM64 if os.uname().machine == "aarch64" else _X86_64),
}


def check(result: int, name: str, path: str = "") -> int:
    """Return `result`, or raise KernelError of the last call when it is -1."""
    if result == -1:
        raise kernel_error(ctypes.get_errno(), name, path)
    return result


def syscall(name: str, *args: object, path: str = "") -> int:
    """Make one system call by number. Integers are passed as long, bytes as char pointer.

    Raises KernelError with `path` as its file name.
    """
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in args]
    return check(_syscall(ctypes.c_long(NUMBERS[name]), *words), name, path)
