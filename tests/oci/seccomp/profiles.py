"""Profiles that the seccomp tests start from."""

from __future__ import annotations

from aisbx_runtime.oci.spec.model import Seccomp, SyscallArg, SyscallRule


def rule(*names, action="SCMP_ACT_ERRNO", errno_ret=None, args=()):
    return SyscallRule(names, action, errno_ret, tuple(SyscallArg(*arg) for arg in args))


def profile(*rules, default="SCMP_ACT_ALLOW", default_errno=None, architectures=(), flags=None):
    return Seccomp(default, default_errno, architectures, flags, syscalls=rules)


def base_profile():
    """Return a profile with one of everything that a cache key must tell apart."""
    return profile(
        rule("getppid", errno_ret=77),
        rule("personality", "kill", args=[(0, 5, 0, "SCMP_CMP_EQ")]),
        architectures=("SCMP_ARCH_X86_64",),
        flags=("SECCOMP_FILTER_FLAG_LOG",),
    )
