"""Seccomp without a kernel: an interpreter of BPF programs, and a plain reading of a profile.

The two share nothing but `struct seccomp_data`: what one says of a call, the other must say too.
"""

from __future__ import annotations

import struct

from aisbx_runtime.oci.record import record

X86_64 = 0xC000003E  # include/uapi/linux/audit.h, AUDIT_ARCH_*
X86 = 0x40000003
AARCH64 = 0xC00000B7
X32_BIT = 0x40000000  # an x32 call comes as AUDIT_ARCH_X86_64 with this bit in its number

KILL_THREAD = 0x00000000  # include/uapi/linux/seccomp.h, SECCOMP_RET_*
KILL_PROCESS = 0x80000000
TRAP = 0x00030000
ERRNO = 0x00050000
NOTIFY = 0x7FC00000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000

ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_NOTIFY": NOTIFY,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}

OPERATORS = {
    "SCMP_CMP_NE": lambda argument, value, _: argument != value,
    "SCMP_CMP_LT": lambda argument, value, _: argument < value,
    "SCMP_CMP_LE": lambda argument, value, _: argument <= value,
    "SCMP_CMP_EQ": lambda argument, value, _: argument == value,
    "SCMP_CMP_GE": lambda argument, value, _: argument >= value,
    "SCMP_CMP_GT": lambda argument, value, _: argument > value,
    # libseccomp masks both sides (db.c, _db_node_mask_fixup), and so do runc and crun.
    "SCMP_CMP_MASKED_EQ": lambda argument, mask, value: argument & mask == value & mask,
}


@record
class Call:
    """A system call as the filter sees it."""

    number: int
    arch: int = X86_64
    args: tuple[int, ...] = ()

    def data(self) -> bytes:
        padded = (*self.args, 0, 0, 0, 0, 0, 0)[:6]
        return struct.pack("<IIQ6Q", self.number, self.arch, 0, *padded)


def run(program: bytes, call: Call) -> int:
    """Interpret the program for one call and return what it returns (SECCOMP_RET_*)."""
    instructions = list(struct.iter_unpack("<HBBI", program))
    data = call.data()
    accumulator = at = 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= constant
        elif code == 0x05:  # BPF_JMP | BPF_JA
            at += constant
        elif code == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            at += if_true if accumulator == constant else if_false
        elif code == 0x25:  # BPF_JMP | BPF_JGT | BPF_K
            at += if_true if accumulator > constant else if_false
        elif code == 0x45:  # BPF_JMP | BPF_JSET | BPF_K
            at += if_true if accumulator & constant else if_false
        elif code == 0x35:  # BPF_JMP | BPF_JGE | BPF_K
            at += if_true if accumulator >= constant else if_false
        elif code == 0x06:  # BPF_RET | BPF_K
            return constant
        else:
            message = f"instruction {at - 1}: unknown code {code:#x}"
            raise NotImplementedError(message)


def size(program: bytes) -> int:
    """Return the number of instructions."""
    return len(program) // 8


def action_of(name: str, errno_ret: int | None) -> int:
    """Return what the kernel is told for an OCI action."""
    action = ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return action | (1 if errno_ret is None else errno_ret)
    return action


def _holds(rule, args: tuple[int, ...]) -> bool:
    held = [OPERATORS[arg.op](args[arg.index], arg.value, arg.value_two) for arg in rule.args]
    if len({arg.index for arg in rule.args}) < len(rule.args):
        return any(held)  # the quirk of runc, crun and youki
    return all(held)


def reading(seccomp, call: Call, name: str, named=()) -> set[int]:
    """Return what a reader of the profile allows the kernel to be told for a call of that name.

    config-linux.md says nothing about several rules that match: then any of them may decide.
    `named` are the numbers of all calls that are named, on the call's architecture.
    """
    default = action_of(seccomp.default_action, seccomp.default_errno_ret)
    if default & 0x7FFF0000 in (KILL_THREAD, TRAP, ERRNO) and call.number > max(named, default=-1):
        default = ERRNO | 38 if named else default
    args = (*call.args, 0, 0, 0, 0, 0, 0)[:6]
    return {
        action_of(rule.action, rule.errno_ret)
        for rule in seccomp.syscalls
        if name in rule.names and _holds(rule, args)
    } or {default}
