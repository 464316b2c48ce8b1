"""Seccomp: calls that are newer than the profile, and profiles that libseccomp cannot take."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from integration.lifecycle.test_seccomp import ALLOW, ERRNO, NEEDED, arg, rule, seccomp

# Of what the probe can call and nobody needs: numbers 140 and 309 on x86-64.
OLD = "getpriority"
NEW = "getcpu"


pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
)


@pytest.fixture
def calls(runtime, bundle, probe):
    """Return a function that makes system calls under a filter and returns their errors."""
    shutil.copy(probe("sys"), f"{bundle.rootfs}/bin/sys")

    def made(*names):
        bundle.args("/bin/sys", *names)
        lines = runtime.run(bundle).ok().lines
        return {name: int(number) for name, number in map(str.split, lines)}

    return made


# Above getcpu.
ABOVE = (
    "close_range", "execveat", "faccessat2", "getrandom", "openat2", "rseq", "seccomp",
)  # fmt: skip


def test_a_call_above_all_that_are_named_does_not_exist(bundle, calls):
    bundle.config["process"]["noNewPrivileges"] = True
    names = [name for name in NEEDED.split() if name not in ABOVE]
    # runc adds this only where an architecture is named.
    seccomp(bundle, rule(ALLOW, *names), defaultAction=ERRNO, architectures=["SCMP_ARCH_X86_64"])
    found = calls(OLD, NEW, "sched_yield")

    assert found == {OLD: errno.EPERM, NEW: errno.ENOSYS, "sched_yield": 0}


def test_a_call_that_could_have_been_named_gets_the_default(bundle, calls):
    seccomp(bundle, rule(ALLOW, *NEEDED.split()), defaultAction=ERRNO)

    assert calls(OLD, NEW) == {OLD: errno.EPERM, NEW: errno.EPERM}


def test_a_filter_that_would_say_something_else_is_refused(runtime, bundle):
    if runtime.name == "runc":
        pytest.skip("runc takes what libseccomp makes of it")
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": ALLOW,
        "syscalls": [
            rule(
                ERRNO,
                "getppid",
                args=[arg(1, 0xFFFFFFFF, "SCMP_CMP_NE"), arg(0, 2, "SCMP_CMP_GE")],
            ),
            rule(
                ERRNO, "getppid", args=[arg(2, 0, "SCMP_CMP_GE"), arg(0, 0xFFFFFFFF, "SCMP_CMP_GT")]
            ),
        ],
    }
    result = runtime.try_create(bundle)
    if result.code == 0:
        pytest.skip("this libseccomp is right")

    assert 'the rules for "getppid"' in result.message
    assert runtime("state", bundle.id).code == 1


def test_a_filter_that_is_never_done_is_refused(runtime, bundle):
    if runtime.name == "runc":
        pytest.skip("runc waits for ever")
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": ALLOW,
        "syscalls": [
            rule(ERRNO, "ioctl", args=[arg(0, 1, "SCMP_CMP_NE"), arg(index, 1, "SCMP_CMP_EQ")])
            for index in (1, 2)
        ],
    }
    result = runtime.try_create(bundle)
    if result.code == 0:
        pytest.skip("this libseccomp ends")

    assert "has not compiled the filter" in result.message
    assert runtime("state", bundle.id).code == 1
