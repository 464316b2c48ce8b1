from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.seccomp import compiler, enosys
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import profile, rule
from tests.oci.seccomp.simulate import AARCH64, ALLOW, ERRNO, X32_BIT, X86, X86_64, Call

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
)

ENOSYS = ERRNO | errno.ENOSYS
GETPPID, GETPPID_X86, OPENAT2, READ = 110, 64, 437, 0
SOCKETCALL_X86, SOCKET_X86 = 102, 359
ALL = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")


def told(seccomp, number, arch=X86_64):
    return simulate.run(compiler.program_of(seccomp), Call(number, arch))


def strict(*rules, default="SCMP_ACT_ERRNO", **more):
    return profile(rule("getppid", action="SCMP_ACT_ALLOW"), *rules, default=default, **more)


@pytest.mark.parametrize(
    ("default", "older"),
    [
        ("SCMP_ACT_ERRNO", ERRNO | 1), ("SCMP_ACT_KILL", 0), ("SCMP_ACT_TRAP", simulate.TRAP),
        ("SCMP_ACT_KILL_THREAD", 0), ("SCMP_ACT_KILL_PROCESS", simulate.KILL_PROCESS),
    ],
)  # fmt: skip
def test_a_call_above_all_that_are_named_does_not_exist(default, older):
    seccomp = strict(default=default)
    seen = [told(seccomp, number) for number in (GETPPID - 1, GETPPID, GETPPID + 1, 0xFFFF)]

    assert seen == [older, ALLOW, ENOSYS, ENOSYS]


@pytest.mark.parametrize("default", enosys.PERMISSIVE)
def test_a_default_that_lets_calls_through_stays(default):
    seccomp = profile(rule("getppid"), default=default)

    assert told(seccomp, OPENAT2) == simulate.action_of(default, None)


def test_a_default_of_enosys_needs_nothing():
    seccomp = strict(default_errno=errno.ENOSYS)

    assert (enosys.is_wanted(seccomp), told(seccomp, OPENAT2)) == (False, ENOSYS)


def test_another_errno_of_the_default_is_for_older_calls():
    seccomp = strict(default_errno=7)

    assert [told(seccomp, READ), told(seccomp, OPENAT2)] == [ERRNO | 7, ENOSYS]


def test_a_name_counts_although_its_rule_says_what_the_default_says():
    seccomp = strict(rule("openat2"))
    seen = [told(seccomp, number) for number in (GETPPID + 1, OPENAT2, OPENAT2 + 1)]

    assert seen == [ERRNO | 1, ERRNO | 1, ENOSYS]


@pytest.mark.parametrize("rules", [(), (rule("no_such_call"),), (rule("getppid\0"),)])
def test_a_profile_that_names_nothing_is_not_outdated(rules):
    assert told(profile(*rules, default="SCMP_ACT_ERRNO"), OPENAT2) == ERRNO | 1


def test_every_architecture_has_its_own_largest_number():
    seccomp = strict(architectures=ALL)
    seen = [
        [told(seccomp, number + step, arch) for step in (-1, 0, 1)]
        for number, arch in ((GETPPID, X86_64), (GETPPID_X86, X86), (GETPPID | X32_BIT, X86_64))
    ]

    assert seen == [[ERRNO | 1, ALLOW, ENOSYS]] * 3


def test_the_native_architecture_need_not_be_named():
    assert told(strict(architectures=("SCMP_ARCH_X86",)), GETPPID + 1) == ENOSYS


@pytest.mark.parametrize(
    ("number", "arch"), [(OPENAT2, X86), (OPENAT2 | X32_BIT, X86_64), (OPENAT2, AARCH64)]
)
def test_an_architecture_that_is_not_named_is_killed_all_the_same(number, arch):
    # runc's stub leaves x32 to libseccomp, too: seen with strace, runc 1.1.5.
    assert told(strict(architectures=("SCMP_ARCH_X86_64",)), number, arch) == 0


def test_minus_one_gets_the_default_where_x32_is_not_named():
    # A tracer skips a call with it; libseccomp does not take it for one of x32.
    assert told(strict(), 0xFFFFFFFF) == ERRNO | 1


@pytest.mark.parametrize("load", [compiler._load_seccomp, compiler._load_pyseccomp])
def test_a_part_of_socketcall_is_allowed_by_its_own_number(monkeypatch, load):
    try:
        loaded = load()
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(str(error))
    monkeypatch.setattr(compiler, "load_binding", lambda: loaded)
    seccomp = profile(
        rule("socket", action="SCMP_ACT_ALLOW"), default="SCMP_ACT_ERRNO", architectures=ALL
    )

    seen = [told(seccomp, number, X86) for number in (SOCKETCALL_X86, SOCKET_X86, OPENAT2)]

    assert seen == [ERRNO | 1, ALLOW, ENOSYS]
