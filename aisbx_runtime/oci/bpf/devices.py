"""Device rules -> an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE.

The last rule that matches decides, access bit by access bit; a device that no rule matches is
denied. Which rules a container has lives in `plan.cgroup_devices`, loading in `kernel.bpf`.
"""

from __future__ import annotations

import struct

from aisbx_runtime.oci.record import record

# include/uapi/linux/bpf.h: BPF_DEVCG_ACC_* and BPF_DEVCG_DEV_*.
MKNOD, READ, WRITE = 1, 2, 4
EVERY_ACCESS = MKNOD | READ | WRITE
_KINDS = {"b": 1, "c": 2}

# Registers: the program is entered with the context in r1, and returns its verdict in r0.
_R0, _R1, _KIND, _ACCESS, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 6

# Opcodes: Documentation/bpf/standardization/instruction-set.rst.
_LOAD_WORD = 0x61
_MOVE, _MOVE_NUMBER = 0xBF, 0xB7
_AND_NUMBER, _SHIFT_RIGHT = 0x54, 0x74
_JUMP_IF_EQUAL, _JUMP_UNLESS_EQUAL = 0x16, 0x56  # BPF_JMP32: device numbers are unsigned 32 bit
_EXIT = 0x95

_DENY, _ALLOW = 0, 1


@record
class Rule:
    """One device rule. `kind` is a, b or c; None is any number; `access` is a sum of bits."""

    allow: bool
    kind: str
    major: int | None
    minor: int | None
    access: int

    def covers_everything(self) -> bool:
        """Tell whether no device and no access is outside of this rule."""
        numbers = (self.major, self.minor)
        return self.kind == "a" and numbers == (None, None) and self.access == EVERY_ACCESS


def decisive(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules that can decide something, the one that decides first in front.

    Leaves out what a later rule overrules entirely, and what is denied anyway at the end.
    """
    decided: dict[tuple[str, int | None, int | None], int] = {}
    kept: list[Rule] = []
    for rule in reversed(rules):
        device = (rule.kind, rule.major, rule.minor)
        before = decided.get(device, 0)
        if rule.access & ~before:
            kept.append(rule)
            decided[device] = before | rule.access
        if rule.covers_everything():
            break
    while kept and not kept[-1].allow:
        kept.pop()
    return tuple(kept)


def allows_everything(rules: tuple[Rule, ...]) -> bool:
    """Tell whether no device is denied, so that no filter is needed."""
    deciding = decisive(rules)
    allowing = all(rule.allow for rule in deciding)
    return bool(deciding) and allowing and deciding[-1].covers_everything()


def program(rules: tuple[Rule, ...]) -> bytes:
    """Return the instructions of the filter for `rules`."""
    code = [
        # struct bpf_cgroup_dev_ctx: access_type is (access << 16) | kind, then major and minor.
        _instruction(_LOAD_WORD, _KIND, _R1, offset=0),
        _instruction(_LOAD_WORD, _MAJOR, _R1, offset=4),
        _instruction(_LOAD_WORD, _MINOR, _R1, offset=8),
        _instruction(_MOVE, _ACCESS, _KIND),
        _instruction(_AND_NUMBER, _KIND, number=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ACCESS, number=16),
    ]
    for rule in decisive(rules):
        code += _block(rule)
        if rule.covers_everything():
            # The verifier refuses instructions that cannot be reached.
            return b"".join(code)
    code += _verdict(_DENY)
    return b"".join(code)


def _block(rule: Rule) -> list[bytes]:
    body = _allowing(rule.access) if rule.allow else _denying(rule.access)
    wanted: list[tuple[int, int]] = []
    if rule.kind != "a":
        wanted.append((_KIND, _KINDS[rule.kind]))
    if rule.major is not None:
        wanted.append((_MAJOR, rule.major))
    if rule.minor is not None:
        wanted.append((_MINOR, rule.minor))
    block = body
    for register, number in reversed(wanted):
        over = len(block)
        block = [_instruction(_JUMP_UNLESS_EQUAL, register, offset=over, number=number), *block]
    return block


def _allowing(access: int) -> list[bytes]:
    if access == EVERY_ACCESS:
        return _verdict(_ALLOW)
    return [
        # What this rule grants needs no other; the rest is for earlier rules to decide.
        _instruction(_AND_NUMBER, _ACCESS, number=EVERY_ACCESS & ~access),
        _instruction(_JUMP_UNLESS_EQUAL, _ACCESS, offset=2, number=0),
        *_verdict(_ALLOW),
    ]


def _denying(access: int) -> list[bytes]:
    if access == EVERY_ACCESS:
        return _verdict(_DENY)
    return [
        _instruction(_MOVE, _SCRATCH, _ACCESS),
        _instruction(_AND_NUMBER, _SCRATCH, number=access),
        _instruction(_JUMP_IF_EQUAL, _SCRATCH, offset=2, number=0),
        *_verdict(_DENY),
    ]


def _verdict(verdict: int) -> list[bytes]:
    return [_instruction(_MOVE_NUMBER, _R0, number=verdict), _instruction(_EXIT)]


def _instruction(
    opcode: int, target: int = 0, source: int = 0, *, offset: int = 0, number: int = 0
) -> bytes:
    # struct bpf_insn: the two registers share a byte, on little endian the target is the low half.
    return struct.pack("<BBhI", opcode, source << 4 | target, offset, number & 0xFFFFFFFF)
