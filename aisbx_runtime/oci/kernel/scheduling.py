"""Scheduling: sched_setattr, ioprio_set, CPU affinity, set_mempolicy, personality.

What config.json says in names is turned into these numbers in `plan`.
"""

from __future__ import annotations

import struct

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import kernel_error
from aisbx_runtime.oci.kernel.call import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable
else:
    from aisbx_runtime.oci.kernel import c as ctypes

# include/uapi/linux/sched/types.h, struct sched_attr: size, policy, flags, nice, priority,
# runtime, deadline, period, util_min, util_max.
_SCHED_ATTR = "=IIQiIQQQII"
IOPRIO_WHO_PROCESS = 1  # include/uapi/linux/ioprio.h
IOPRIO_CLASS_SHIFT = 13
_WORD_BITS = 64


def sched_setattr(
    policy: int,
    *,
    pid: int,
    flags: int,
    nice: int,
    priority: int,
    runtime_ns: int,
    deadline_ns: int,
    period_ns: int,
) -> None:
    """Set policy and parameters of a process; `pid` 0 is this one.

    Raises KernelError EPERM (no CAP_SYS_NICE, or a cgroup without realtime runtime), EINVAL,
    EBUSY (deadline bandwidth), EOPNOTSUPP (a kernel without utilization clamping).
    See sched_setattr(2); with the clamps, Linux 5.3.
    """
    size = struct.calcsize(_SCHED_ATTR)
    numbers = (runtime_ns, deadline_ns, period_ns, 0, 0)
    attributes = struct.pack(_SCHED_ATTR, size, policy, flags, nice, priority, *numbers)
    syscall("sched_setattr", pid, attributes, 0)


def ioprio_set(class_: int, level: int) -> None:
    """Set class and level of the I/O of this process. Raises KernelError EPERM, EINVAL.

    See ioprio_set(2).
    """
    syscall("ioprio_set", IOPRIO_WHO_PROCESS, 0, class_ << IOPRIO_CLASS_SHIFT | level)


def sched_setaffinity(pid: int, cpus: Iterable[int]) -> None:
    """Let a process, 0 for this one, run on these CPUs, as far as its cpuset has them.

    Raises KernelError EINVAL when it has none of them. See sched_setaffinity(2).
    """
    try:
        os.sched_setaffinity(pid, cpus)
    except OSError as error:
        raise kernel_error(error.errno or 0, "sched_setaffinity") from None


def set_mempolicy(mode: int, nodes: frozenset[int]) -> None:
    """Set the memory policy of this process: MPOL_* `mode` with its MPOL_F_* flags.

    Raises KernelError EINVAL when no node is there or allowed. See set_mempolicy(2).
    """
    if not nodes:
        syscall("set_mempolicy", mode, 0, 0)
        return
    words = max(nodes) // _WORD_BITS + 1
    mask = sum(1 << node for node in nodes).to_bytes(words * 8, "little")
    # mm/mempolicy.c, get_nodes: the last of the bits counted is not read.
    syscall("set_mempolicy", mode, mask, words * _WORD_BITS + 1)


def personality(persona: int) -> None:
    """Set the execution domain of this process and of what it executes. See personality(2)."""
    check(libc.personality(ctypes.c_ulong(persona)), "personality")
