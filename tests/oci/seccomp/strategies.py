"""Profiles drawn by hypothesis, and system calls to ask their filters about."""

from __future__ import annotations

from hypothesis import strategies as st

from aisbx_runtime.oci.record import replace
from aisbx_runtime.oci.seccomp import compiler
from aisbx_runtime.oci.spec.model import SyscallArg
from tests.oci.seccomp.profiles import profile, rule
from tests.oci.seccomp.simulate import X86, X86_64

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

# Calls that make a profile long enough for the tree.
PADDING = (
    "dup", "dup2", "pipe", "fcntl", "flock", "fsync", "truncate", "ftruncate", "getcwd",
    "chdir", "fchdir", "rename", "mkdir", "rmdir", "creat", "link", "unlink", "symlink",
    "readlink", "chmod", "fchmod", "umask", "times", "getuid", "syslog", "getgid", "setuid",
    "setgid", "geteuid", "getegid", "setpgid", "getpgrp", "setsid", "setreuid", "setregid",
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


# ---- profiles that are nearly the same -----------------------------------------------------------
ERRNOS = st.sampled_from([None, 0, 1, 38])
VALUES = st.sampled_from([0, 1, 2, 11, 0x7FFFFFFF, 0xFFFFFFFF])


def _another_argument(draw, one):
    if not one.args:
        return replace(one, args=(SyscallArg(0, draw(VALUES), draw(VALUES), "SCMP_CMP_EQ"),))
    at = draw(st.integers(0, len(one.args) - 1))
    change = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "index": st.integers(0, 2),
                "value": VALUES,
                "value_two": VALUES,
                "op": st.sampled_from(sorted(compiler.OPERATORS)),
            },
        )
    )
    args = list(one.args)
    args[at] = replace(args[at], **change)
    return replace(one, args=tuple(args[: len(args) - draw(st.integers(0, 1))]))


def _another_rule(draw, rules):
    at = draw(st.integers(0, len(rules) - 1))
    one = rules[at]
    kind = draw(
        st.sampled_from(["errno", "action", "arguments", "names", "split", "joined", "away"])
    )
    found = {
        "errno": lambda: [replace(one, errno_ret=draw(ERRNOS))],
        "action": lambda: [replace(one, action=draw(ACTIONS)[0])],
        "arguments": lambda: [_another_argument(draw, one)],
        "names": lambda: [replace(one, names=(*one.names, draw(st.sampled_from(NAMES))))],
        "split": lambda: [replace(one, names=(name,)) for name in one.names],
        "joined": lambda: [replace(one, names=("".join(one.names),))],
        "away": list,
    }[kind]()
    return [*rules[:at], *found, *rules[at + 1 :]]


@st.composite
def near(draw, seccomp):
    """Draw a profile that differs from `seccomp` in one or two places, or not at all."""
    for _ in range(draw(st.integers(0, 2))):
        rules = list(seccomp.syscalls)
        kind = draw(st.sampled_from(["rule", "order", "default", "architectures", "others"]))
        if kind == "rule" and rules:
            seccomp = replace(seccomp, syscalls=tuple(_another_rule(draw, rules)))
        elif kind == "order":
            seccomp = replace(seccomp, syscalls=tuple(draw(st.permutations(rules))))
        elif kind == "default":
            action, errno_ret = draw(ACTIONS)
            seccomp = replace(seccomp, default_action=action, default_errno_ret=errno_ret)
        elif kind == "architectures":
            # Never one more: to a 32-bit one the long numbers of the rules would be cut.
            kept = draw(st.lists(st.sampled_from(seccomp.architectures or ("SCMP_ARCH_X86_64",))))
            seccomp = replace(seccomp, architectures=tuple(kept))
        else:
            flags = draw(st.sampled_from([None, (), ("SECCOMP_FILTER_FLAG_LOG",)]))
            path = draw(st.sampled_from(["", "/run/a", "/run/b"]))
            seccomp = replace(seccomp, flags=flags, listener_path=path)
    return seccomp


@st.composite
def pairs(draw):
    """Draw two profiles that are nearly the same, and calls."""
    seccomp, calls = draw(profiles())
    return seccomp, draw(near(seccomp)), calls
