"""Compiled profiles in a real kernel: a forked child installs one and makes real calls.

No root is needed: the child sets no_new_privs first.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import json
import mmap
import os
import signal

import pytest

from aisbx_runtime.oci.kernel.filter import install_filter
from aisbx_runtime.oci.seccomp import compiler, flags_of
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import profile, rule
from tests.oci.seccomp.simulate import X32_BIT, X86_64, Call

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers and the machine code are those of x86-64"
)

GETPPID = 110
GETPPID_X86 = 64
PR_SET_NO_NEW_PRIVS = 38
KILLED = -signal.SIGSYS
LIBC = ctypes.CDLL(None, use_errno=True)

# long call(int number, int a, int b, int c): a system call of a 32-bit program, made by a 64-bit
# one. The kernel takes int 0x80 for AUDIT_ARCH_I386 whatever the segment.
INT_0X80 = bytes.fromhex(
    "53"    # push rbx
    "89f8"  # mov eax, edi
    "89f3"  # mov ebx, esi
    "87d1"  # xchg ecx, edx
    "cd80"  # int 0x80
    "5b"    # pop rbx
    "4898"  # cdqe
    "c3"    # ret
)  # fmt: skip


def call(number, *args):
    """Make a system call; return its result, or -errno."""
    # c_long masks: all 64 bits of an argument reach the kernel, and seccomp looks at them.
    padded = [ctypes.c_long(arg) for arg in (*args, 0, 0, 0, 0, 0, 0)[:6]]
    result = LIBC.syscall(ctypes.c_long(number), *padded)
    return -ctypes.get_errno() if result == -1 else result


def call_x86(number, *args):
    """Make a system call of a 32-bit program; return its result, or -errno."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(INT_0X80)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    function = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_uint32] * 4)(address)
    return function(number, *(*args, 0, 0, 0)[:3])


def in_child(body, seccomp=None):
    """Run body under the profile; return what it returned, or -signal that killed the child."""
    program = seccomp and compiler.program_of(seccomp)
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            if program:
                LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                install_filter(program, flags_of(seccomp))
            os.write(write_fd, json.dumps(body()).encode())
            os._exit(0)
        finally:
            os._exit(99)
    os.close(write_fd)
    with open(read_fd, "rb") as file:
        said = file.read()
    exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return json.loads(said) if exit_code == 0 else exit_code


def getppid():
    return call(GETPPID)


# ---- actions


def test_errno_is_what_the_call_returns():
    assert in_child(getppid, profile(rule("getppid", errno_ret=errno.EXDEV))) == -errno.EXDEV


def test_errno_0_skips_the_call():
    assert in_child(getppid, profile(rule("getppid", errno_ret=0))) == 0


@pytest.mark.parametrize("action", ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"])
def test_log_and_allow_make_the_call(action):
    seccomp = profile(rule("getpid", errno_ret=1), rule("getppid", action=action))

    assert in_child(getppid, seccomp) == os.getpid()


def test_trace_without_a_tracer_is_enosys():
    assert in_child(getppid, profile(rule("getppid", action="SCMP_ACT_TRACE"))) == -errno.ENOSYS


@pytest.mark.parametrize(
    "action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"]
)
def test_kill_kills_a_process_of_one_thread(action):
    assert in_child(getppid, profile(rule("getppid", action=action))) == KILLED


def threads():
    return len(os.listdir("/proc/self/task"))


def call_in_a_second_thread():
    _thread.start_new_thread(getppid, ())
    while threads() > 1:
        os.sched_yield()
    return "still here"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("SCMP_ACT_KILL", "still here"),
        ("SCMP_ACT_KILL_THREAD", "still here"),
        ("SCMP_ACT_KILL_PROCESS", KILLED),
    ],
)
def test_only_kill_process_takes_the_other_threads_along(action, expected):
    seccomp = profile(rule("getppid", action=action))

    assert in_child(call_in_a_second_thread, seccomp) == expected


def test_trap_can_be_handled():
    def body():
        signals = []
        signal.signal(signal.SIGSYS, lambda number, _frame: signals.append(int(number)))
        getppid()
        return signals

    assert in_child(body, profile(rule("getppid", action="SCMP_ACT_TRAP"))) == [signal.SIGSYS]


def test_trap_that_is_not_handled_kills():
    assert in_child(getppid, profile(rule("getppid", action="SCMP_ACT_TRAP"))) == KILLED


# What an interpreter that only calls, writes and exits may need.
INTERPRETER = rule(
    "write", "exit_group", "mmap", "munmap", "mremap", "madvise", "brk", "futex", "rt_sigreturn",
    "rt_sigprocmask", action="SCMP_ACT_ALLOW",
)  # fmt: skip


@pytest.mark.parametrize(
    ("default", "default_errno", "expected"),
    [
        ("SCMP_ACT_ERRNO", None, -errno.EPERM),
        ("SCMP_ACT_ERRNO", errno.ENOSYS, -errno.ENOSYS),
        ("SCMP_ACT_TRACE", None, -errno.ENOSYS),
        ("SCMP_ACT_KILL", None, KILLED),
        ("SCMP_ACT_KILL_PROCESS", None, KILLED),
        ("SCMP_ACT_TRAP", None, KILLED),
    ],
)
def test_the_default_is_for_every_call_that_has_no_rule(default, default_errno, expected):
    seccomp = profile(INTERPRETER, default=default, default_errno=default_errno)

    assert in_child(getppid, seccomp) == expected


@pytest.mark.parametrize("flag", [None, "TSYNC", "LOG", "SPEC_ALLOW"])
def test_the_kernel_takes_the_flags(flag):
    flags = (f"SECCOMP_FILTER_FLAG_{flag}",) if flag else ()

    assert in_child(getppid, profile(rule("getppid", errno_ret=9), flags=flags)) == -9


# ---- operators

VALUES = (0, 1, 5, 6, 7, 0xFFFFFFFF, 1 << 32, 6 << 32 | 5, 6 << 32 | 6, 7 << 32, (1 << 64) - 1)


@pytest.mark.parametrize("operator", sorted(compiler.OPERATORS))
@pytest.mark.parametrize("value", [0, 6, 6 << 32 | 6, 1 << 63, (1 << 64) - 1])
def test_an_operator_decides_as_the_profile_reads(operator, value):
    seccomp = profile(rule("getppid", errno_ret=9, args=[(2, value, 6, operator)]))
    seen = in_child(lambda: [call(GETPPID, 0, 0, argument) for argument in VALUES], seccomp)

    expected = [
        simulate.reading(seccomp, Call(GETPPID, X86_64, (0, 0, argument)), "getppid")
        for argument in VALUES
    ]
    assert seen == [-9 if each == {simulate.ERRNO | 9} else os.getpid() for each in expected]


@pytest.mark.parametrize("index", range(6))
def test_each_of_the_six_arguments_can_be_asked_for(index):
    seccomp = profile(rule("getppid", errno_ret=9, args=[(index, 7, 0, "SCMP_CMP_EQ")]))
    one_hot = [[7 if place == each else 0 for place in range(6)] for each in range(6)]
    seen = in_child(lambda: [call(GETPPID, *args) for args in one_hot], seccomp)

    assert seen == [-9 if place == index else os.getpid() for place in range(6)]


# ---- architectures

ALL_X86 = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")


@pytest.fixture
def ia32():
    if in_child(lambda: call_x86(GETPPID_X86)) != os.getpid():
        pytest.skip("the kernel has no 32-bit calls (CONFIG_IA32_EMULATION)")


@pytest.mark.usefixtures("ia32")
def test_a_32_bit_call_is_killed_when_its_architecture_is_not_named():
    assert in_child(lambda: call_x86(GETPPID_X86), profile()) == KILLED


@pytest.mark.usefixtures("ia32")
def test_a_32_bit_call_obeys_the_rule_under_its_own_number():
    seccomp = profile(
        rule("getppid", errno_ret=9, args=[(1, 5, 0, "SCMP_CMP_GE")]), architectures=ALL_X86
    )
    seen = in_child(
        lambda: [call_x86(GETPPID_X86, 0, argument, 0) for argument in (4, 5, 0xFFFFFFFF)], seccomp
    )

    assert seen == [os.getpid(), -9, -9]


def test_an_x32_call_is_killed_when_its_architecture_is_not_named():
    assert in_child(lambda: call(GETPPID | X32_BIT), profile()) == KILLED


def test_an_x32_call_obeys_the_rule_when_its_architecture_is_named():
    seccomp = profile(rule("getppid", errno_ret=9), architectures=ALL_X86)

    assert in_child(lambda: call(GETPPID | X32_BIT), seccomp) == -9


# ---- long profiles


@pytest.mark.parametrize("architectures", [(), ALL_X86])
def test_a_profile_of_hundreds_of_calls_works(architectures):
    binding = compiler.load_binding()
    named = {binding.resolve_syscall(compiler.ARCH_NATIVE, name) for name in INTERPRETER.names}
    # Reading a call's name back: numbers above 334 are those of all architectures.
    others = [number for number in range(300) if number not in named]
    names = [binding.resolve_syscall(-1073741762, number).decode() for number in others]
    seccomp = profile(
        INTERPRETER,
        *[rule(name, errno_ret=1 + place % 100) for place, name in enumerate(names)],
        default="SCMP_ACT_KILL_PROCESS",
        architectures=architectures,
    )
    seen = in_child(lambda: [call(number) for number in others], seccomp)

    assert seen == [-(1 + place % 100) for place in range(len(names))]
