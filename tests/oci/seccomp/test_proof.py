"""The guard against what libseccomp 2.5.4 makes of several rules for one call."""

from __future__ import annotations

import os
import struct

import pytest

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.seccomp import compiler, proof
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import profile, rule

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
)

X86_64, X86, X32 = 0xC000003E, 0x40000003, 0x4000003E
ALLOW, ERRNO = simulate.ALLOW, simulate.ERRNO | 1
NE, LT, LE, EQ, GE, GT, MASKED_EQ = range(1, 8)
GETPPID = 110


def program(*instructions):
    return [tuple(one) for one in instructions]


LOW_IS_7 = program(  # allow getppid(7), whatever the high half of its argument
    (0x20, 0, 0, 16), (0x15, 0, 1, 7), (0x06, 0, 0, ALLOW), (0x06, 0, 0, ERRNO)
)


@pytest.mark.parametrize(
    ("token", "condition"),
    [
        (X86, (0, EQ, 7, 0)), (X86, (0, EQ, 7 | 1 << 40, 0)), (X32, (0, EQ, 7, 0)),
        (X86_64, (0, MASKED_EQ, 0xFFFFFFFF, 7)), (X86_64, (0, MASKED_EQ, 0xFFFFFFFF, 1 << 32 | 7)),
    ],
)  # fmt: skip
def test_a_program_that_says_what_the_rules_say_is_right(token, condition):
    rules = [(ALLOW, [condition])]

    assert proof.wrong_arguments(LOW_IS_7, token, GETPPID, rules, ERRNO) is None


@pytest.mark.parametrize(
    ("token", "condition"),
    [
        (X86_64, (0, EQ, 7, 0)), (X86, (0, EQ, 6, 0)), (X86, (1, EQ, 7, 0)), (X86, (0, NE, 7, 0)),
        (X86, (0, GE, 7, 0)), (X86, (0, GT, 6, 0)), (X86, (0, LE, 7, 0)), (X86, (0, LT, 8, 0)),
        (X86, (0, MASKED_EQ, 3, 7)), (X86_64, (0, MASKED_EQ, 1 << 32 | 0xFFFFFFFF, 7)),
    ],
)  # fmt: skip
def test_a_program_that_says_something_else_is_seen(token, condition):
    index, op, one, two = condition
    names = {number: name for name, number in compiler.OPERATORS.items()}
    rules = [(ALLOW, [condition])]
    found = proof.wrong_arguments(LOW_IS_7, token, GETPPID, rules, ERRNO)

    assert found is not None
    assert (found[0] & 0xFFFFFFFF == 7) != simulate.OPERATORS[names[op]](found[index], one, two)


def test_all_arguments_are_tried_together():
    both = program(
        (0x20, 0, 0, 16), (0x15, 0, 3, 1), (0x20, 0, 0, 24), (0x15, 0, 1, 2),
        (0x06, 0, 0, ALLOW), (0x06, 0, 0, ERRNO),
    )  # fmt: skip
    right = [(ALLOW, [(0, EQ, 1, 0), (1, EQ, 2, 0)])]
    wrong = [(ALLOW, [(0, EQ, 1, 0)]), (ALLOW, [(1, EQ, 2, 0)])]
    seen = [proof.wrong_arguments(both, X86, GETPPID, rules, ERRNO) for rules in (right, wrong)]

    assert seen[0] is None
    assert seen[1] is not None


def test_of_too_many_combinations_some_are_tried(monkeypatch):
    monkeypatch.setattr(proof, "TRIES", 50)
    rules = [(ALLOW, [(index, EQ, index + 5, 0) for index in range(6)])]
    tried = list(proof._combinations(rules, is_64_bit=True))

    assert len(set(tried)) == 50


def test_the_evaluator_agrees_with_that_of_the_tests():
    compiled = compiler.program_of(
        profile(
            rule("getppid", args=[(0, 5, 0, "SCMP_CMP_GT"), (1, 6, 2, "SCMP_CMP_MASKED_EQ")]),
            rule("kill", action="SCMP_ACT_ALLOW"),
            default="SCMP_ACT_KILL",
            architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_X86"),
        )
    )
    calls = [
        simulate.Call(number, arch, (argument, second))
        for number in (GETPPID, 64, 62, 37, GETPPID | simulate.X32_BIT, 500)
        for arch in (simulate.X86_64, simulate.X86, simulate.AARCH64)
        for argument in (0, 5, 6, 1 << 32)
        for second in (2, 3)
    ]
    decoded = proof.decoded(compiled)
    seen = [proof.answer(decoded, list(struct.unpack("<16I", call.data()))) for call in calls]

    assert seen == [simulate.run(compiled, call) for call in calls]


def test_an_instruction_that_is_not_known_is_refused():
    with pytest.raises(HostError, match="0x99"):
        proof.answer([(0x99, 0, 0, 0)], [0] * 16)


# ---- with libseccomp


WRONG_IN_2_5_4 = profile(
    rule("getppid", args=[(1, 0xFFFFFFFF, 0, "SCMP_CMP_NE"), (0, 2, 0, "SCMP_CMP_GE")]),
    rule("getppid", args=[(2, 0, 0, "SCMP_CMP_GE"), (0, 0xFFFFFFFF, 0, "SCMP_CMP_GT")]),
    default="SCMP_ACT_ALLOW",
)


def test_a_wrong_program_is_refused_with_arguments():
    try:
        compiled = compiler.program_of(WRONG_IN_2_5_4)
    except HostError as error:
        refused = error
    else:
        # A libseccomp that is right is welcome.
        call = simulate.Call(GETPPID, args=(1 << 32, 0xFFFFFFFF, 0))
        assert simulate.run(compiled, call) == ERRNO
        return

    assert "linux.seccomp.syscalls[0]" in refused.what
    assert "0x" in refused.why
