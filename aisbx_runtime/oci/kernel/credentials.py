"""Capability sets of this process. See capabilities(7), capget(2)."""

from __future__ import annotations

import errno

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel.call import check, libc
from aisbx_runtime.oci.kernel.process import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    prctl,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

_LINUX_CAPABILITY_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set three sets, each a mask of capability numbers. Raises KernelError EPERM to add any."""
    header = _Header(_LINUX_CAPABILITY_VERSION_3, 0)
    low = (effective & 0xFFFFFFFF, permitted & 0xFFFFFFFF, inheritable & 0xFFFFFFFF)
    data = (_Data * 2)(_Data(*low), _Data(effective >> 32, permitted >> 32, inheritable >> 32))
    check(libc.capset(ctypes.byref(header), data), "capset")


def permitted_set() -> int:
    """Return the permitted capabilities of this process as a bit mask."""
    header = _Header(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)()
    check(libc.capget(ctypes.byref(header), data), "capget")
    low, high = data[0].permitted, data[1].permitted
    return int(low) | int(high) << 32


def drop_from_bounding_set(capability: int) -> None:
    """Take one capability away for good. Raises KernelError EPERM without CAP_SETPCAP."""
    prctl(PR_CAPBSET_DROP, capability)


def set_ambient(ambient: int) -> None:
    """Make the ambient set exactly the bit mask `ambient`. EPERM: not permitted or inheritable."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        if ambient >> capability & 1:
            try:
                prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)
            except KernelError as error:
                if error.errno == errno.EINVAL:  # pragma: no cover (an unknown number)
                    continue
                raise
