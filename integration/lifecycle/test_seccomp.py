"""Seccomp: every action, operator and errno, seen by a program that makes the calls."""

from __future__ import annotations

import errno
import os
import shutil
import signal

import pytest

from integration import needs
from integration.differences import known_of_runc

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"

# What the runtimes and a static program need after the filter is in place.
NEEDED = """
accept4 access arch_prctl brk capget capset chdir clock_gettime clone close close_range dup2
epoll_create1 epoll_ctl epoll_pwait execve execveat exit exit_group faccessat faccessat2 fchdir
fcntl fstat fstatfs futex getdents64 getegid geteuid getgid getpid getppid getrandom gettid getuid
ioctl lseek madvise mincore mmap mprotect munmap nanosleep newfstatat openat openat2 pipe2 prctl
pread64 prlimit64 read readlink readlinkat recvfrom recvmsg restart_syscall rseq rt_sigaction
rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield seccomp sendmsg sendto set_robust_list
set_tid_address setgid setgroups setresgid setresuid setuid sigaltstack stat statfs tgkill uname
wait4 write writev
"""


@pytest.fixture
def calls(runtime, bundle, probe):
    """Return a function that makes system calls under a filter and returns their errors."""
    shutil.copy(probe("sys"), f"{bundle.rootfs}/bin/sys")

    def made(*names, check=True):
        bundle.args("/bin/sys", *names)
        result = runtime.run(bundle)
        if check:
            result.ok()
        found = {name: int(number) for name, number in map(str.split, result.lines)}
        return found if check else (result.code, found)

    return made


def rule(action, *names, args=(), **more):
    entry = {"names": list(names), "action": action, **more}
    if args:
        entry["args"] = list(args)
    return entry


def arg(index, value, op, value_two=None):
    entry = {"index": index, "value": value, "op": op}
    return entry if value_two is None else {**entry, "valueTwo": value_two}


def seccomp(bundle, *rules, **more):
    bundle.config["linux"]["seccomp"] = {"defaultAction": ALLOW, "syscalls": list(rules), **more}


def test_errno_is_eperm_without_a_number(bundle, calls):
    seccomp(bundle, rule(ERRNO, "mkdirat"))

    assert calls("mkdirat", "umask") == {"mkdirat": errno.EPERM, "umask": 0}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EACCES, errno.EBUSY, 133])
def test_errno_is_the_number_of_the_rule(bundle, calls, number):
    seccomp(bundle, rule(ERRNO, "mkdirat", errnoRet=number))

    assert calls("mkdirat") == {"mkdirat": number}


def test_errno_zero_is_kept(bundle, calls):
    seccomp(bundle, rule(ERRNO, "mkdirat", errnoRet=0))

    assert calls("mkdirat") == {"mkdirat": 0}


def test_the_default_action_takes_what_no_rule_names(bundle, calls):
    # 38 is what podman sends.
    seccomp(bundle, rule(ALLOW, *NEEDED.split()), defaultAction=ERRNO, defaultErrnoRet=errno.ENOSYS)

    assert calls("getcpu", "sched_yield") == {"getcpu": errno.ENOSYS, "sched_yield": 0}


@pytest.mark.parametrize(
    ("op", "value", "two", "hit", "missed"),
    [
        ("SCMP_CMP_EQ", 1, None, ["getpriority1"], ["getpriority", "getpriority2"]),
        ("SCMP_CMP_NE", 1, None, ["getpriority", "getpriority2"], ["getpriority1"]),
        ("SCMP_CMP_LT", 1, None, ["getpriority"], ["getpriority1", "getpriority2"]),
        ("SCMP_CMP_LE", 1, None, ["getpriority", "getpriority1"], ["getpriority2"]),
        ("SCMP_CMP_GE", 1, None, ["getpriority1", "getpriority2"], ["getpriority"]),
        ("SCMP_CMP_GT", 1, None, ["getpriority2"], ["getpriority", "getpriority1"]),
        ("SCMP_CMP_MASKED_EQ", 2, 2, ["getpriority2"], ["getpriority", "getpriority1"]),
        ("SCMP_CMP_MASKED_EQ", 3, 1, ["getpriority1"], ["getpriority", "getpriority2"]),
    ],
)
def test_an_operator_compares(bundle, calls, op, value, two, hit, missed):
    seccomp(bundle, rule(ERRNO, "getpriority", args=[arg(0, value, op, two)], errnoRet=77))
    found = calls("getpriority", "getpriority1", "getpriority2")

    assert found == {**dict.fromkeys(hit, 77), **dict.fromkeys(missed, 0)}


def test_two_arguments_must_both_fit(bundle, calls):
    both = [arg(0, 1, "SCMP_CMP_EQ"), arg(1, 0, "SCMP_CMP_EQ")]
    seccomp(bundle, rule(ERRNO, "getpriority", args=both, errnoRet=77))

    assert calls("getpriority", "getpriority1") == {"getpriority": 0, "getpriority1": 77}


def test_two_rules_of_one_call_are_alternatives(bundle, calls):
    seccomp(
        bundle,
        rule(ERRNO, "getpriority", args=[arg(0, 1, "SCMP_CMP_EQ")], errnoRet=77),
        rule(ERRNO, "getpriority", args=[arg(0, 2, "SCMP_CMP_EQ")], errnoRet=78),
    )

    assert calls("getpriority", "getpriority1", "getpriority2") == {
        "getpriority": 0,
        "getpriority1": 77,
        "getpriority2": 78,
    }


@pytest.mark.parametrize(
    "action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"]
)
def test_kill_ends_the_program(bundle, calls, action):
    bundle.without_namespace("pid")
    seccomp(bundle, rule(action, "mkdirat"))

    assert calls("umask", "mkdirat", "umask", check=False) == (128 + signal.SIGSYS, {"umask": 0})


def test_trap_sends_a_signal(bundle, calls):
    bundle.without_namespace("pid")
    seccomp(bundle, rule("SCMP_ACT_TRAP", "mkdirat"))

    assert calls("mkdirat", check=False)[0] == 128 + signal.SIGSYS


def test_trace_without_a_tracer_fails_as_a_missing_call(bundle, calls):
    seccomp(bundle, rule("SCMP_ACT_TRACE", "mkdirat", errnoRet=5))

    assert calls("mkdirat") == {"mkdirat": errno.ENOSYS}


def test_log_lets_the_call_through(bundle, calls):
    seccomp(bundle, rule("SCMP_ACT_LOG", "mkdirat"))

    assert calls("mkdirat") == {"mkdirat": 0}


def test_a_name_libseccomp_does_not_know_is_skipped(bundle, calls):
    seccomp(bundle, rule(ERRNO, "no_such_call", "mkdirat"))

    assert calls("mkdirat") == {"mkdirat": errno.EPERM}


def test_a_filter_is_in_place_and_cannot_be_dropped(runtime, bundle):
    seccomp(bundle, rule(ERRNO, "mkdirat"))
    script = "grep -h Seccomp: /proc/self/status"

    assert runtime.run(bundle, script).out.split() == ["Seccomp:", "2"]


@pytest.mark.parametrize(
    "flags",
    [[], ["SECCOMP_FILTER_FLAG_LOG"], ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]],
)
def test_flags_are_taken(runtime, bundle, calls, flags):
    seccomp(bundle, rule(ERRNO, "mkdirat"), flags=flags)
    code, found = calls("mkdirat", check=False)
    known_of_runc(runtime, "1.1 does not know flags", seen=code == 1)

    assert found == {"mkdirat": errno.EPERM}


def test_an_unknown_flag_is_refused(runtime, bundle):
    seccomp(bundle, rule(ERRNO, "mkdirat"), flags=["SECCOMP_FILTER_FLAG_NOSUCH"])

    assert runtime.run(bundle, "true").code != 0


def test_an_unknown_action_is_refused(runtime, bundle):
    seccomp(bundle, rule("SCMP_ACT_NOSUCH", "mkdirat"))

    assert runtime.run(bundle, "true").code != 0


def test_the_architectures_podman_sends_are_taken(bundle, calls):
    archs = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    seccomp(bundle, rule(ERRNO, "mkdirat"), architectures=archs)

    assert calls("mkdirat") == {"mkdirat": errno.EPERM}


def test_the_filter_holds_for_exec(runtime, bundle, probe):
    shutil.copy(probe("sys"), f"{bundle.rootfs}/bin/sys")
    seccomp(bundle, rule(ERRNO, "mkdirat", errnoRet=77))
    container = runtime.started(bundle)

    assert container.exec("/bin/sys", "mkdirat").out == "mkdirat 77\n"


def test_a_filter_works_without_no_new_privileges(bundle, calls):
    bundle.config["process"]["noNewPrivileges"] = False
    seccomp(bundle, rule(ERRNO, "mkdirat"))

    assert calls("mkdirat") == {"mkdirat": errno.EPERM}


@pytest.mark.parametrize("program", ["/bin/true", "true"])
def test_a_profile_older_than_the_kernel_works_without_no_new_privileges(runtime, bundle, program):
    # Then container init carries the filter already when it looks up and starts the program.
    bundle.config["process"]["noNewPrivileges"] = False
    recent = ("faccessat2", "close_range", "openat2", "clone3")
    seccomp(bundle, rule(ERRNO, *recent))
    bundle.args(program)

    assert (runtime.run(bundle).code, runtime.run(bundle).err) == (0, "")


@needs.ids
def test_a_program_of_another_user_stays_refused_under_an_old_profile(runtime, bundle):
    bundle.config["process"]["noNewPrivileges"] = False
    seccomp(bundle, rule(ERRNO, "faccessat2"))
    bundle.file("mine", "#!/bin/sh\n")
    os.chmod(f"{bundle.rootfs}/mine", 0o700)
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.config["process"]["capabilities"] = {}
    bundle.args("/mine")
    result = runtime.run(bundle)

    assert result.code != 0
    assert "permission denied" in result.err


@needs.ids
def test_a_filter_works_for_a_user_without_capabilities(bundle, calls):
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.capabilities(bounding=[], effective=[], permitted=[])
    seccomp(bundle, rule(ERRNO, "mkdirat", errnoRet=77))

    assert calls("mkdirat") == {"mkdirat": 77}


def test_the_second_use_of_a_filter_is_the_same(runtime, bundle, calls):
    # Ours: the second one comes from the cache of compiled programs.
    seccomp(bundle, rule(ERRNO, "mkdirat", errnoRet=76))

    assert [calls("mkdirat"), calls("mkdirat")] == [{"mkdirat": 76}] * 2


def test_a_notify_rule_without_a_listener_path_is_refused(runtime, bundle):
    seccomp(bundle, rule("SCMP_ACT_NOTIFY", "mkdirat"))

    assert runtime.run(bundle, "true").code != 0
