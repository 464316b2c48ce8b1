"""Installing a seccomp program in this process. See seccomp(2)."""

from __future__ import annotations

import errno

from aisbx_runtime.oci.errors import KernelError, kernel_error
from aisbx_runtime.oci.kernel.call import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

SECCOMP_SET_MODE_FILTER = 1  # include/uapi/linux/seccomp.h
INSTRUCTION_BYTES = 8  # struct sock_filter


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


NEW_LISTENER = 8  # SECCOMP_FILTER_FLAG_NEW_LISTENER


def install_filter(program: bytes, flags: int) -> int:
    """Install a BPF program (an array of struct sock_filter) with SECCOMP_FILTER_FLAG_* flags.

    Return the listener's fd, which is close-on-exec, with NEW_LISTENER; else -1.
    Raises KernelError EINVAL: bad program or flag; EACCES: neither no_new_privs nor CAP_SYS_ADMIN.
    """
    described = _Program(len(program) // INSTRUCTION_BYTES, program)
    result = syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(described))
    if flags & NEW_LISTENER:
        return result
    if result > 0:
        # seccomp(2): with TSYNC a positive result is the thread that could not be synchronised.
        raise kernel_error(errno.ESRCH, "seccomp")
    return -1


def knows_flags(flags: int) -> bool:
    """Tell whether this kernel takes these SECCOMP_FILTER_FLAG_* together; nothing is installed."""
    try:
        syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, None)
    except KernelError as error:
        # seccomp(2): the flags are looked at before the program, which is not there.
        return error.errno == errno.EFAULT
    return False  # pragma: no cover (it cannot succeed)
