"""Device filters, run by an interpreter of the few instructions they are made of."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisbx_runtime.oci.bpf.devices import (
    EVERY_ACCESS,
    MKNOD,
    READ,
    WRITE,
    Rule,
    allows_everything,
    decisive,
    program,
)

KINDS = {"b": 1, "c": 2}
DENY_ALL = Rule(allow=False, kind="a", major=None, minor=None, access=EVERY_ACCESS)
ALLOW_ALL = Rule(allow=True, kind="a", major=None, minor=None, access=EVERY_ACCESS)


def instructions(code: bytes) -> list[tuple[int, int, int, int, int]]:
    found = []
    for opcode, registers, offset, number in struct.iter_unpack("<BBhI", code):
        found.append((opcode, registers & 15, registers >> 4, offset, number))
    return found


def run(code: bytes, kind: str, major: int, minor: int, access: int) -> tuple[bool, set[int]]:
    """Return the verdict and the numbers of the instructions that were executed."""
    words = {0: access << 16 | KINDS[kind], 4: major, 8: minor}
    registers: dict[int, int] = {}
    at, seen = 0, set[int]()
    listing = instructions(code)
    while True:
        opcode, target, source, offset, number = listing[at]
        seen.add(at)
        at += 1
        if opcode == 0x61:
            assert source == 1
            registers[target] = words[offset]
        elif opcode == 0xBF:
            registers[target] = registers[source]
        elif opcode == 0xB7:
            registers[target] = number
        elif opcode == 0x54:
            registers[target] &= number
        elif opcode == 0x74:
            registers[target] >>= number
        elif opcode == 0x16:
            at += offset if registers[target] == number else 0
        elif opcode == 0x56:
            at += offset if registers[target] != number else 0
        else:
            assert opcode == 0x95
            return bool(registers[0]), seen


def judged(rules: list[Rule], kind: str, major: int, minor: int, access: int) -> bool:
    """The meaning of a list of rules: the last that matches a bit of the access decides it."""
    for bit in (MKNOD, READ, WRITE):
        if not access & bit:
            continue
        allowed = False
        for rule in rules:
            same_kind = rule.kind in {"a", kind}
            same_number = rule.major in {None, major} and rule.minor in {None, minor}
            if same_kind and same_number and rule.access & bit:
                allowed = rule.allow
        if not allowed:
            return False
    return True


RULES = st.lists(
    st.builds(
        Rule,
        allow=st.booleans(),
        kind=st.sampled_from("abc"),
        major=st.sampled_from([None, 0, 1, 5, 0xFFFFFFFF]),
        minor=st.sampled_from([None, 0, 3]),
        access=st.integers(1, EVERY_ACCESS),
    ),
    max_size=8,
)
DEVICES = st.tuples(
    st.sampled_from("bc"),
    st.sampled_from([0, 1, 5, 7, 0xFFFFFFFF]),
    st.sampled_from([0, 3, 9]),
    st.integers(1, EVERY_ACCESS),
)


@given(RULES, DEVICES)
def test_the_last_rule_that_matches_decides(rules, device):
    verdict, _ = run(program(tuple(rules)), *device)

    assert judged(rules, *device) == verdict


@given(RULES)
@example([ALLOW_ALL])
def test_no_instruction_is_unreachable(rules):
    # The verifier refuses a program that has one.
    listing = instructions(program(tuple(rules)))
    reached, todo = set[int](), [0]
    while todo:
        at = todo.pop()
        if at in reached:
            continue
        reached.add(at)
        opcode, offset = listing[at][0], listing[at][3]
        if opcode == 0x95:
            continue
        todo.append(at + 1)
        if opcode in {0x16, 0x56}:
            todo.append(at + 1 + offset)

    assert set(range(len(listing))) == reached


@given(RULES, DEVICES)
def test_a_list_that_allows_everything_denies_no_device(rules, device):
    if allows_everything(tuple(rules)):
        assert judged(rules, *device)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), False),
        ((DENY_ALL,), False),
        ((ALLOW_ALL,), True),
        ((ALLOW_ALL, DENY_ALL), False),
        ((DENY_ALL, ALLOW_ALL), True),
        (
            (ALLOW_ALL, Rule(allow=False, kind="b", major=8, minor=0, access=WRITE)),
            False,
        ),
    ],
)
def test_no_filter_is_needed_only_when_nothing_is_denied(rules, expected):
    assert expected == allows_everything(rules)


def test_rules_before_one_that_covers_everything_are_left_out():
    null = Rule(allow=True, kind="c", major=1, minor=3, access=EVERY_ACCESS)

    assert (null,) == decisive((ALLOW_ALL, null, DENY_ALL, null))


def test_without_rules_everything_is_denied():
    verdict, _ = run(program(()), "c", 1, 3, READ)

    assert verdict is False


def test_reading_and_writing_may_be_granted_by_two_rules():
    rules = (
        Rule(allow=True, kind="c", major=1, minor=3, access=READ),
        Rule(allow=True, kind="c", major=None, minor=None, access=WRITE),
    )
    verdict, _ = run(program(rules), "c", 1, 3, READ | WRITE)

    assert verdict is True


def test_nothing_follows_a_rule_that_covers_everything():
    no_loop = Rule(allow=False, kind="b", major=7, minor=None, access=EVERY_ACCESS)
    code = program((ALLOW_ALL, no_loop))

    assert [False, True] == [run(code, "b", major, 0, READ)[0] for major in (7, 8)]
    assert code.endswith(program((ALLOW_ALL,))[-16:])
