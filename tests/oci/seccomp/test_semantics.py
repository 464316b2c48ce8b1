"""Profiles by the thousand: what the program says of a call is what a reader says.

Several rules for one call, of which one compares with NE, LT, LE, GE or GT, are drawn apart:
libseccomp 2.5.4 compiles some of them wrongly (and runc and crun with it), and is never done with
others. Then they must be refused. The profiles of engines have such rules: see test_compiler,
"different actions keep apart".
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.seccomp import apart, compiler
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import profile, rule
from tests.oci.seccomp.simulate import X86, X86_64, Call

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
)

NAMES = ("getppid", "read", "ioctl", "personality", "kill", "openat")
ABIS = {  # the number that libseccomp has for it; what the kernel calls it; a bit in its numbers
    "SCMP_ARCH_X86_64": (-1073741762, X86_64, 0),
    "SCMP_ARCH_X86": (0x40000003, X86, 0),
    "SCMP_ARCH_X32": (0x4000003E, X86_64, 0),
}
FEW = st.sampled_from((0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
MANY = FEW | st.sampled_from((1 << 32, 1 << 32 | 2, 3 << 32, 1 << 63, (1 << 64) - 1))
ACTIONS = st.sampled_from(
    [
        ("SCMP_ACT_ALLOW", None), ("SCMP_ACT_ERRNO", None), ("SCMP_ACT_ERRNO", 0),
        ("SCMP_ACT_ERRNO", 38), ("SCMP_ACT_LOG", None), ("SCMP_ACT_TRAP", None),
        ("SCMP_ACT_KILL", None), ("SCMP_ACT_KILL_PROCESS", None), ("SCMP_ACT_TRACE", 5),
    ],
)  # fmt: skip


@st.composite
def conditions(draw, values, operators):
    indexes = draw(st.lists(st.integers(0, 2), unique=True, max_size=3))
    return [
        (index, draw(values), draw(values), draw(st.sampled_from(operators))) for index in indexes
    ]


@st.composite
def rules_of(draw, name, values):
    """Draw the rules of one call: one of any kind, or several of the kinds libseccomp can merge."""
    action, errno_ret = draw(ACTIONS)
    anything = sorted(compiler.OPERATORS)
    if draw(st.booleans()):
        return [
            rule(name, action=action, errno_ret=errno_ret, args=draw(conditions(values, anything)))
        ]
    return [
        rule(name, action=action, errno_ret=errno_ret, args=args)
        for args in draw(
            st.lists(conditions(values, ["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]), max_size=3)
        )
    ]


@st.composite
def profiles(draw):
    values, architectures = draw(
        # A 32-bit architecture has 32-bit arguments: libseccomp cuts the numbers of a rule, too.
        st.sampled_from([(MANY, ()), (FEW, ("SCMP_ARCH_X86",)), (FEW, tuple(ABIS))])
    )
    rules = [each for name in NAMES for each in draw(rules_of(name, values))]
    if draw(st.booleans()):
        padding = draw(ACTIONS)
        rules.append(rule(*PADDING, action=padding[0], errno_ret=padding[1]))
    default, default_errno = draw(ACTIONS)
    calls = st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(architectures or ("SCMP_ARCH_X86_64",)),
        st.tuples(values, values, values),
    )
    return (
        profile(*rules, default=default, default_errno=default_errno, architectures=architectures),
        draw(st.lists(calls, min_size=5, max_size=15)),
    )


# Calls that make a profile long enough for the tree.
PADDING = (
    "dup", "dup2", "pipe", "fcntl", "flock", "fsync", "truncate", "ftruncate", "getcwd",
    "chdir", "fchdir", "rename", "mkdir", "rmdir", "creat", "link", "unlink", "symlink",
    "readlink", "chmod", "fchmod", "umask", "times", "getuid", "syslog", "getgid", "setuid",
    "setgid", "geteuid", "getegid", "setpgid", "getpgrp", "setsid", "setreuid", "setregid",
)  # fmt: skip


@settings(
    max_examples=200, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(profiles())
def test_the_program_says_what_a_reader_says(drawn):
    seccomp, calls = drawn
    program = compiler.program_of(seccomp)
    binding = compiler.load_binding()
    for name, abi, args in calls:
        token, arch, _ = ABIS[abi]
        seen = Call(binding.resolve_syscall(token, name), arch, args)
        named = {
            binding.resolve_syscall(token, each) for rule in seccomp.syscalls for each in rule.names
        }

        assert simulate.run(program, seen) in simulate.reading(seccomp, seen, name, named)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(profiles(), st.integers(0, (1 << 32) - 1))
def test_a_foreign_architecture_is_killed_whatever_the_profile(drawn, number):
    seccomp, _ = drawn

    assert simulate.run(compiler.program_of(seccomp), Call(number, simulate.AARCH64)) == 0


@st.composite
def several_rules(draw):
    """Draw rules of any kind for one call: those that libseccomp 2.5.4 merges wrongly, or never."""
    rules = []
    for _ in range(draw(st.integers(2, 3))):
        action, errno_ret = draw(ACTIONS)
        args = draw(conditions(MANY, sorted(compiler.OPERATORS)))
        rules.append(rule("getppid", action=action, errno_ret=errno_ret, args=args))
    near = st.builds(lambda value, step: (value + step) % (1 << 64), MANY, st.integers(-1, 1))
    calls = draw(st.lists(st.tuples(near, near, near), min_size=20, max_size=40))
    return profile(*rules, default=draw(ACTIONS)[0]), calls


@settings(
    max_examples=60, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(several_rules())
def test_any_rules_of_one_call_mean_what_they_say_or_are_refused(drawn):
    seccomp, calls = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "DEADLINE_S", 1.0)
        try:
            program, _ = apart.compiled(seccomp)
        except (SpecError, HostError):
            return
    for args in calls:
        seen = Call(110, X86_64, args)

        assert simulate.run(program, seen) in simulate.reading(seccomp, seen, "getppid", {110})
