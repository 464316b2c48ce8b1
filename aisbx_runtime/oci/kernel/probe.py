"""Asking the kernel what it has, by calls that cannot succeed. What follows lives in `probe`."""

from __future__ import annotations

import errno

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel.call import NUMBERS, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

_LANDLOCK_CREATE_RULESET = 444  # include/uapi/asm-generic/unistd.h
_LANDLOCK_CREATE_RULESET_VERSION = 1  # include/uapi/linux/landlock.h
_WRONG = 0xFFFFFFFF
# Calls with arguments that each of them refuses before it does anything.
_REFUSED: dict[str, tuple[object, ...]] = {
    "pidfd_send_signal": (-1, 0, None, _WRONG),
    "open_tree": (-1, None, _WRONG),
    "move_mount": (-1, None, -1, None, _WRONG),
    "fsopen": (None, _WRONG),
    "fsconfig": (-1, _WRONG, None, None, 0),
    "fsmount": (-1, _WRONG, 0),
    "clone3": (None, 0),
    "close_range": (1, 0, 0),
    "openat2": (-1, None, None, 0),
    "mount_setattr": (-1, None, _WRONG, None, 0),
    "seccomp": (_WRONG, 0, None),
}
CALLS = tuple(_REFUSED)


def has_call(name: str) -> bool:
    """Tell whether the kernel has a system call of `CALLS`. It does nothing in any case."""
    assert name in NUMBERS  # noqa: S101  (a constant of ours)
    try:
        syscall(name, *_REFUSED[name])
    except KernelError as error:
        return error.errno != errno.ENOSYS
    return True


def landlock_abi() -> int:
    """Return the version of Landlock's interface, 0 where it is missing or switched off."""
    version: int = libc.syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint(_LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(version, 0)
