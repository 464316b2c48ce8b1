"""Does a compiled program say what its rules say? Only on a cache miss.

libseccomp up to 2.5.4 (and runc and crun with it) merges several rules for one call wrongly if one
compares with NE, LT, LE, GE or GT: the program may allow what no rule allows. So the calls that
have several rules, and conditions, are tried at the values where the answer can change.
"""

from __future__ import annotations

import struct

from aisbx_runtime.oci.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Condition = tuple[int, int, int, int]  # argument, operator, two numbers: as libseccomp has it
    Rule = tuple[int, list[Condition]]  # what the kernel is told (SECCOMP_RET_*) if all hold

    Instruction = tuple[int, int, int, int]

TRIES = 2048  # for one call: with more combinations than that, some of them, spread evenly
_SPREAD = 2654435761  # a prime: its multiples visit every combination
_HIGH, _LOW = 0xFFFFFFFF00000000, 0xFFFFFFFF
_ALL = _HIGH | _LOW
_IS_64_BIT = 0x80000000  # include/uapi/linux/audit.h, __AUDIT_ARCH_64BIT; not in libseccomp's x32


def decoded(program: bytes) -> list[Instruction]:
    """Return the instructions of a program."""
    return list(struct.iter_unpack("=HBBI", program))


def answer(instructions: list[Instruction], words: list[int]) -> int:
    """Run a program on a struct seccomp_data, in 32-bit words; return what the kernel is told."""
    accumulator = at = 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        if code == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            at += if_true if accumulator == constant else if_false
        elif code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            accumulator = words[constant >> 2]
        elif code == 0x35:  # BPF_JMP | BPF_JGE | BPF_K
            at += if_true if accumulator >= constant else if_false
        elif code == 0x25:  # BPF_JMP | BPF_JGT | BPF_K
            at += if_true if accumulator > constant else if_false
        elif code == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= constant
        elif code == 0x05:  # BPF_JMP | BPF_JA
            at += constant
        elif code == 0x45:  # BPF_JMP | BPF_JSET | BPF_K
            at += if_true if accumulator & constant else if_false
        elif code == 0x06:  # BPF_RET | BPF_K
            return constant
        else:
            raise HostError(f"libseccomp makes programs with an unknown instruction: {code:#x}")


def wrong_arguments(
    program: list[Instruction], token: int, number: int, rules: list[Rule], default: int
) -> tuple[int, ...] | None:
    """Return arguments for which the program says what neither a rule nor the default says.

    `token` is libseccomp's number of the architecture. Of several rules that match any may decide:
    config-linux.md names no order.
    """
    is_64_bit = bool(token & _IS_64_BIT)
    mask = _ALL if is_64_bit else _LOW
    # To libseccomp an argument of a 32-bit architecture, and what it is compared with, has 32 bits.
    narrowed = [
        (action, [(index, op, one & mask, two & mask) for index, op, one, two in conditions])
        for action, conditions in rules
    ]
    # The kernel has no word for x32: its calls are x86-64's with a bit in their number.
    architecture = 0xC000003E if token == 0x4000003E else token
    for arguments in _combinations(narrowed, is_64_bit=is_64_bit):
        words = [number, architecture, 0, 0]
        for argument in arguments:
            words += (argument & _LOW, argument >> 32)
        allowed = {action for action, conditions in narrowed if _all_hold(conditions, arguments)}
        if answer(program, words) not in (allowed or {default}):
            return arguments
    return None


def _all_hold(conditions: list[Condition], arguments: tuple[int, ...]) -> bool:
    for index, op, one, two in conditions:
        argument = arguments[index]
        # libseccomp's seccomp.h, enum scmp_compare
        if op == 7:
            held = argument & one == two & one
        else:
            held = (
                (op == 1 and argument != one)
                or (op == 2 and argument < one)
                or (op == 3 and argument <= one)
                or (op == 4 and argument == one)
                or (op == 5 and argument >= one)
                or (op == 6 and argument > one)
            )
        if not held:
            return False
    return True


def _combinations(rules: list[Rule], *, is_64_bit: bool) -> Iterator[tuple[int, ...]]:
    values: list[list[int]] = []
    for index in range(6):
        found = {0: None}
        for _, conditions in rules:
            for condition in conditions:
                if condition[0] == index:
                    found.update(dict.fromkeys(_around(condition, is_64_bit=is_64_bit)))
        values.append(list(found))
    total = 1
    for each in values:
        total *= len(each)
    for count in range(min(total, TRIES)):
        place = count if total <= TRIES else count * _SPREAD % total
        arguments: list[int] = []
        for each in values:
            place, at = divmod(place, len(each))
            arguments.append(each[at])
        yield tuple(arguments)


def _around(condition: Condition, *, is_64_bit: bool) -> list[int]:
    """Return where the answer of a condition can change; the halves are compared one by one."""
    _, op, one, two = condition
    everything = _ALL if is_64_bit else _LOW
    if op == 7:
        matching = two & one
        lowest = one & -one
        found = [matching, matching | everything & ~one, matching ^ lowest, ~matching]
        found += [matching ^ (one & _LOW), matching ^ (one & _HIGH)]
    else:
        found = [one, one - 1, one + 1]
        if is_64_bit:
            above, below = one + (1 << 32), one - (1 << 32)
            found += [above, below, above & _HIGH, below | _LOW, one & _HIGH, one | _LOW]
        found.append(everything)
    return [value & everything for value in found]
