from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.seccomp import FLAGS, WAIT_KILLABLE_RECV, compiler, flags_of
from aisbx_runtime.oci.spec import parse_seccomp
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import profile, rule
from tests.oci.seccomp.simulate import ALLOW, ERRNO, KILL_THREAD, X32_BIT, X86, X86_64, Call

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(compiler.__file__.rpartition("/")[0])))
MACHINE = os.uname().machine
on_x86_64 = pytest.mark.skipif(MACHINE != "x86_64", reason="the numbers are those of x86-64")
GETPPID = 110
GETPPID_X86 = 64


def told(seccomp, *args, number=GETPPID, arch=X86_64):
    """Return what the compiled profile tells the kernel about a call."""
    return simulate.run(compiler.program_of(seccomp), Call(number, arch, args))


# ---- the vocabulary


def test_every_name_that_is_read_can_be_compiled():
    names = (
        set(compiler.ACTIONS),
        set(compiler.OPERATORS),
        set(compiler.ARCHITECTURES),
        set(FLAGS) | {WAIT_KILLABLE_RECV},
    )

    assert names == (
        parse_seccomp.ACTIONS,
        parse_seccomp.OPERATORS,
        parse_seccomp.ARCHITECTURES,
        parse_seccomp.FLAGS,
    )


@on_x86_64
@pytest.mark.parametrize("action", sorted(compiler.ACTIONS))
def test_an_action_tells_the_kernel_its_number(binding, action):
    expected = simulate.action_of(action, None)
    default = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    seccomp = profile(rule("getppid", action=action), default=default)

    assert (expected, simulate.action_of(default, None)) == (
        told(seccomp),
        told(seccomp, number=GETPPID + 1),
    )


@on_x86_64
@pytest.mark.parametrize("action", sorted(compiler.ACTIONS))
def test_an_action_can_be_the_default(binding, action):
    assert told(profile(default=action)) == simulate.action_of(action, None)


@on_x86_64
@pytest.mark.parametrize("operator", sorted(compiler.OPERATORS))
def test_an_operator_compares_all_64_bits(binding, operator):
    values = (0, 5, 6, 7, 0xFFFFFFFF, 1 << 32, (6 << 32) | 6, (6 << 32) | 7, 1 << 63, (1 << 64) - 1)
    seen = {}
    expected = {}
    for value in values:
        seccomp = profile(rule("getppid", errno_ret=77, args=[(1, value, 6, operator)]))
        program = compiler.program_of(seccomp)
        for argument in values:
            call = Call(GETPPID, X86_64, (0, argument))
            seen[value, argument] = {simulate.run(program, call)}
            expected[value, argument] = simulate.reading(seccomp, call, "getppid")

    assert expected == seen


# ---- errno


@on_x86_64
@pytest.mark.parametrize(("errno_ret", "expected"), [(None, 1), (0, 0), (38, 38), (4094, 4094)])
def test_errno_ret_is_what_a_call_returns(binding, errno_ret, expected):
    assert told(profile(rule("getppid", errno_ret=errno_ret))) == ERRNO | expected


@on_x86_64
def test_default_errno_ret_is_what_other_calls_return(binding):
    seccomp = profile(rule("getppid"), default="SCMP_ACT_ERRNO", default_errno=38)

    assert (ERRNO | 1, ERRNO | 38) == (told(seccomp), told(seccomp, number=GETPPID + 1))


@on_x86_64
def test_a_tracer_gets_16_bits(binding):
    seccomp = profile(rule("getppid", action="SCMP_ACT_TRACE", errno_ret=0xFFFF))

    assert told(seccomp) == simulate.TRACE | 0xFFFF


@pytest.mark.parametrize(
    ("action", "errno_ret"),
    [
        ("SCMP_ACT_ALLOW", 1), ("SCMP_ACT_KILL", 1), ("SCMP_ACT_LOG", 0),
        ("SCMP_ACT_ERRNO", 4095), ("SCMP_ACT_TRACE", 65536),
    ],
)  # fmt: skip
def test_an_errno_that_the_action_cannot_carry_is_refused(action, errno_ret):
    with pytest.raises(SpecError) as refused:
        compiler.program_of(
            profile(rule("getppid"), rule("kill", action=action, errno_ret=errno_ret))
        )

    assert "linux.seccomp.syscalls[1].errnoRet" in refused.value.what


def test_a_default_errno_that_the_action_cannot_carry_is_refused():
    with pytest.raises(SpecError) as refused:
        compiler.program_of(profile(default="SCMP_ACT_KILL", default_errno=1))

    assert "linux.seccomp.defaultErrnoRet" in refused.value.what


# ---- rules that say nothing


@on_x86_64
@pytest.mark.parametrize(
    "says_the_same",
    [
        profile(rule("getppid", action="SCMP_ACT_ALLOW")),
        profile(rule("getppid"), default="SCMP_ACT_ERRNO", default_errno=1),
        profile(rule("getppid", action="SCMP_ACT_KILL"), default="SCMP_ACT_KILL_THREAD"),
        profile(rule("no_such_call")),
        profile(rule("")),
        profile(rule("getppid\0x")),
        profile(rule("gétppid")),
    ],
)
def test_a_rule_that_changes_nothing_is_skipped(binding, says_the_same):
    without = profile(
        default=says_the_same.default_action, default_errno=says_the_same.default_errno_ret
    )

    # It may name a call, and so move what is newer than the profile: see test_enosys.
    assert compiler.program_of(says_the_same).endswith(compiler.program_of(without))


@on_x86_64
def test_an_unknown_name_does_not_hide_its_neighbours(binding):
    assert told(profile(rule("no_such_call", "getppid", errno_ret=9))) == ERRNO | 9


@on_x86_64
def test_a_rule_may_be_said_twice(binding):
    twice = rule("getppid", errno_ret=9, args=[(0, 1, 0, "SCMP_CMP_EQ")])

    assert told(profile(twice, twice), 1) == ERRNO | 9


# ---- conditions


@on_x86_64
def test_conditions_on_different_arguments_must_all_hold(binding):
    seccomp = profile(
        rule("getppid", errno_ret=9, args=[(0, 1, 0, "SCMP_CMP_EQ"), (1, 2, 0, "SCMP_CMP_EQ")])
    )

    assert (ERRNO | 9, ALLOW, ALLOW) == (
        told(seccomp, 1, 2),
        told(seccomp, 1, 3),
        told(seccomp, 0, 2),
    )


@on_x86_64
def test_two_conditions_on_one_argument_make_every_condition_a_rule(binding):
    # The quirk of runc, crun and youki: the condition on argument 1 is set free, too.
    seccomp = profile(
        rule(
            "getppid",
            errno_ret=9,
            args=[(0, 1, 0, "SCMP_CMP_EQ"), (0, 2, 0, "SCMP_CMP_EQ"), (1, 3, 0, "SCMP_CMP_EQ")],
        )
    )
    seen = [told(seccomp, *args) for args in ((1, 0), (2, 0), (0, 3), (0, 0))]

    assert seen == [ERRNO | 9, ERRNO | 9, ERRNO | 9, ALLOW]


@on_x86_64
def test_rules_of_one_call_with_different_actions_keep_apart(binding):
    # What containers-common's profile says of `socket` without CAP_AUDIT_WRITE.
    audit = (16, 9)
    seccomp = profile(
        rule("socket", errno_ret=22, args=[(0, 16, 0, "SCMP_CMP_EQ"), (2, 9, 0, "SCMP_CMP_EQ")]),
        rule("socket", action="SCMP_ACT_ALLOW", args=[(2, 9, 0, "SCMP_CMP_NE")]),
        rule("socket", action="SCMP_ACT_ALLOW", args=[(0, 16, 0, "SCMP_CMP_NE")]),
        default="SCMP_ACT_ERRNO",
        default_errno=38,
    )
    seen = [
        told(seccomp, family, 0, protocol, number=41)
        for family, protocol in (audit, (16, 0), (2, 9), (2, 0))
    ]

    assert seen == [ERRNO | 22, ALLOW, ALLOW, ALLOW]


def test_rules_that_contradict_each_other_name_the_second():
    condition = [(0, 1, 0, "SCMP_CMP_EQ")]
    with pytest.raises(SpecError) as refused:
        compiler.program_of(
            profile(
                rule("getppid", errno_ret=9, args=condition),
                rule("getppid", errno_ret=8, args=condition),
            )
        )

    assert "linux.seccomp.syscalls[1]" in refused.value.what


# ---- architectures


@on_x86_64
def test_the_native_architecture_is_always_there(binding):
    seccomp = profile(rule("getppid", errno_ret=9), architectures=("SCMP_ARCH_X86",))

    assert told(seccomp) == ERRNO | 9


@on_x86_64
@pytest.mark.parametrize("call", [(GETPPID_X86, X86), (GETPPID | X32_BIT, X86_64), (1, 0xC00000B7)])
def test_a_call_of_another_architecture_kills_the_thread(binding, call):
    # As under runc and crun: libseccomp's default for SCMP_FLTATR_ACT_BADARCH.
    assert told(profile(), number=call[0], arch=call[1]) == KILL_THREAD


@on_x86_64
def test_every_architecture_has_the_rule_under_its_own_number(binding):
    seccomp = profile(
        rule("getppid", errno_ret=9),
        architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    )
    seen = [
        told(seccomp, number=number, arch=arch)
        for number, arch in (
            (GETPPID, X86_64), (GETPPID_X86, X86), (GETPPID | X32_BIT, X86_64),
            (GETPPID_X86, X86_64), (GETPPID, X86),
        )
    ]  # fmt: skip

    assert seen == [ERRNO | 9] * 3 + [ALLOW] * 2


@on_x86_64
@pytest.mark.parametrize("name", sorted(compiler.ARCHITECTURES))
def test_an_architecture_is_added_or_refused_by_name(binding, name):
    # libseccomp does not mix byte orders; 2.5 does not know LoongArch and SuperH, 2.6 does.
    try:
        outcome = simulate.size(
            compiler.program_of(profile(rule("getppid"), architectures=(name,)))
        )
    except HostError as refused:
        outcome = refused.what.partition(": ")[2]
    expected = f"libseccomp refuses {name} on this machine"
    little_endian = compiler.ARCHITECTURES[name] & 0x40000000

    assert outcome == expected or (little_endian and outcome > 3)


# ---- flags


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (None, 4), ((), 0), (("SECCOMP_FILTER_FLAG_TSYNC",), 1), (("SECCOMP_FILTER_FLAG_LOG",), 2),
        (("SECCOMP_FILTER_FLAG_SPEC_ALLOW",), 4), (tuple(FLAGS), 7),
    ],
)  # fmt: skip
def test_flags_are_the_kernels_numbers(flags, expected):
    assert flags_of(profile(flags=flags)) == expected


def test_a_flag_of_listeners_is_refused():
    with pytest.raises(SpecError) as refused:
        flags_of(profile(flags=("SECCOMP_FILTER_FLAG_LOG", WAIT_KILLABLE_RECV)))

    assert "linux.seccomp.flags[1]" in refused.value.what


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (None, 12), ((), 8), (("SECCOMP_FILTER_FLAG_TSYNC",), 25), ((WAIT_KILLABLE_RECV,), 40),
        (("SECCOMP_FILTER_FLAG_LOG", WAIT_KILLABLE_RECV), 42),
    ],
)  # fmt: skip
def test_a_rule_that_notifies_asks_for_a_listener(flags, expected):
    assert flags_of(profile(rule("getppid", action="SCMP_ACT_NOTIFY"), flags=flags)) == expected


# ---- long profiles


@on_x86_64
@pytest.mark.parametrize("architectures", [(), ("SCMP_ARCH_X86", "SCMP_ARCH_X32")])
@pytest.mark.parametrize("count", [32, 33, 300])
def test_a_long_profile_means_the_same_as_a_tree(binding, count, architectures):
    names = {
        number: name.decode()
        for number in range(count)
        if (name := binding.resolve_syscall(-1073741762, number))
    }
    seccomp = profile(
        rule(*names.values(), errno_ret=9, args=[(0, 1, 0, "SCMP_CMP_EQ")]),
        architectures=architectures,
    )
    program = compiler.program_of(seccomp)
    seen = {
        (number, argument): simulate.run(program, Call(number, X86_64, (argument,)))
        for number in range(count + 3)
        for argument in (1, 2)
    }

    assert seen == {
        (number, argument): ERRNO | 9 if argument == 1 and number < count else ALLOW
        for number in range(count + 3)
        for argument in (1, 2)
    }


@on_x86_64
def test_more_than_32_rules_become_a_tree(binding, monkeypatch):
    seccomp = profile(
        *[rule("getppid", "kill", errno_ret=9, args=[(0, n, 0, "SCMP_CMP_EQ")]) for n in range(17)]
    )
    with_tree = compiler.program_of(seccomp)
    monkeypatch.setattr(compiler, "TREE_FROM_RULES", 35)

    assert with_tree != compiler.program_of(seccomp)


def test_a_libseccomp_without_trees_still_compiles(binding, monkeypatch):
    monkeypatch.setattr(compiler, "CTL_OPTIMIZE", 999)
    monkeypatch.setattr(compiler, "TREE_FROM_RULES", 1)

    assert simulate.size(compiler.program_of(profile(rule("getppid")))) > 0


def test_a_program_that_the_kernel_would_not_take_is_refused():
    calls = ("getppid", "kill", "dup", "dup2", "pipe", "fcntl", "flock", "fsync", "getcwd", "chdir")
    rules = [
        rule(name, errno_ret=1 + place, args=[(n % 6, n << 32 | n, 0, "SCMP_CMP_EQ")])
        for place, name in enumerate(calls)
        for n in range(120)
    ]
    with pytest.raises(SpecError) as refused:
        compiler.program_of(profile(*rules))

    assert "instructions" in refused.value.what


# ---- nothing else happens
def test_compiling_leaves_the_runtime_unfiltered(binding):
    def state():
        with open("/proc/self/status") as status:
            return [line for line in status if line.startswith(("Seccomp", "NoNewPrivs"))]

    before = state()
    compiler.program_of(profile(rule("getppid"), default="SCMP_ACT_KILL"))

    assert before == state()


def test_compiling_leaves_no_descriptor_open(binding):
    before = sorted(os.listdir("/proc/self/fd"))
    compiler.program_of(profile(rule("getppid")))

    assert before == sorted(os.listdir("/proc/self/fd"))
