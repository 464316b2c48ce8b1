"""ENOSYS for system calls that are newer than the profile. Only on a cache miss.

A C library tries a new call first and takes the old one when the kernel says ENOSYS. A profile that
was written before the call answers with its default, often EPERM, and programs fail. So a call
whose number is above the largest that the profile names gets ENOSYS (the idea is runc's, its
patchbpf): nothing that was refused becomes allowed.
"""

from __future__ import annotations

import errno
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aisbx_runtime.oci.spec.model import Seccomp

# These let a call through, or leave it to a tracer that knows what is new: nothing is to be saved.
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")

_ANSWER = 0x00050000 | errno.ENOSYS  # SECCOMP_RET_ERRNO
X86_64 = 0xC000003E  # include/uapi/linux/audit.h; also that of an x32 call, whose number has a bit
X32 = 0x4000003E  # libseccomp's word for it
X32_BIT = 0x40000000
_LARGEST = 0xFFFFFFFF
X86 = 0x40000003
# socketcall and ipc of x86: their parts have numbers of their own, which a rule for one means, too.
_PARTS_END = {102: 373, 117: 402}

_LOAD, _JUMP, _IF_EQUAL, _IF_GREATER, _IF_SET, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data


def is_wanted(seccomp: Seccomp) -> bool:
    """Tell whether an unknown call would get another answer than it should."""
    if seccomp.default_action == "SCMP_ACT_ERRNO" and seccomp.default_errno_ret == errno.ENOSYS:
        return False
    return seccomp.default_action not in PERMISSIVE


def prefix(
    seccomp: Seccomp, architectures: Iterable[int], number_of: Callable[[int, str], int]
) -> bytes:
    """Return the instructions that go before the filter; empty if none are wanted.

    `number_of` resolves a name for an architecture, negative if it has no such call.
    """
    if not is_wanted(seccomp):
        return b""
    names = {name for rule in seccomp.syscalls for name in rule.names}
    last: dict[int, int] = {}
    for architecture in architectures:
        numbers = {number_of(architecture, name) for name in names}
        if architecture == X86:
            numbers.update([_PARTS_END[one] for one in numbers & _PARTS_END.keys()])
        largest = max(numbers, default=-1)
        # With nothing named there is no profile for this architecture that could be outdated.
        if largest >= 0:
            last[architecture] = largest
    x32 = last.pop(X32, None)
    sections = [
        (one, _above_on_x86_64(largest, x32) if one == X86_64 else _above(largest))
        for one, largest in last.items()
    ]
    return _joined(sections)


def _above(largest: int) -> list[bytes]:
    return [
        _one(_LOAD, 0, 0, _NUMBER),
        _one(_IF_GREATER, 0, 1, largest),
        _one(_RETURN, 0, 0, _ANSWER),
    ]


def _above_on_x86_64(largest: int, largest_of_x32: int | None) -> list[bytes]:
    if largest_of_x32 is None:
        # An x32 call is of a foreign architecture then, which the filter answers.
        largest_of_x32 = _LARGEST
    return [
        _one(_LOAD, 0, 0, _NUMBER),
        _one(_IF_SET, 1, 0, X32_BIT),
        _one(_IF_GREATER, 1, 2, largest),
        _one(_IF_GREATER, 0, 1, largest_of_x32),
        _one(_RETURN, 0, 0, _ANSWER),
    ]


def _joined(sections: list[tuple[int, list[bytes]]]) -> bytes:
    """Put each behind a test of the architecture, and a jump to the filter at its end."""
    blocks: list[bytes] = []
    behind = 0
    for architecture, section in reversed(sections):
        block = [
            _one(_IF_EQUAL, 0, len(section) + 1, architecture),
            *section,
            _one(_JUMP, 0, 0, behind),
        ]
        behind += len(block)
        blocks.insert(0, b"".join(block))
    return _one(_LOAD, 0, 0, _ARCHITECTURE) + b"".join(blocks) if blocks else b""


def _one(code: int, if_true: int, if_false: int, constant: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, constant)
