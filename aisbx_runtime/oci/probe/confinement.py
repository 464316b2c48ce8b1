"""Confinement besides namespaces: seccomp, its compiler, Landlock, AppArmor and SELinux."""

from __future__ import annotations

import sys

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.kernel.probe import landlock_abi
from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK, Check, boot_with, read

_ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"
_NEEDED = ("kill_process", "kill_thread", "trap", "errno", "trace", "log", "allow")
_LANDLOCK = (
    (1, "files"), (4, "TCP ports"), (5, "device control"), (6, "signals and abstract sockets"),
)  # fmt: skip


def checks() -> list[Check]:
    """Return the checks of this topic."""
    return [_seccomp(), _notify(), _binding(), _landlock(), _apparmor(), _selinux()]


def _seccomp() -> Check:
    there = (read(_ACTIONS) or "").split()
    if not there:
        return Check(
            "seccomp", "seccomp", MISSING, f"{_ACTIONS} is missing",
            "linux.seccomp cannot be enforced, and engines send it by default",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        )  # fmt: skip
    lost = [name for name in _NEEDED if name not in there]
    return Check(
        "seccomp", "seccomp", LIMITED if lost else OK, ", ".join(there),
        f"profiles with {', '.join(lost)} are refused" if lost else "",
        "boot a newer kernel" if lost else "",
    )  # fmt: skip


def _notify() -> Check:
    if "user_notif" in (read(_ACTIONS) or "").split():
        return Check("seccomp-notify", "seccomp notify", OK, "the kernel has it")
    return Check(
        "seccomp-notify", "seccomp notify", MISSING, "the kernel has it not",
        "profiles with SCMP_ACT_NOTIFY are refused", "boot a kernel with CONFIG_SECCOMP_FILTER",
    )  # fmt: skip


def _binding() -> Check:
    from aisbx_runtime.oci.seccomp import compiler

    try:
        binding = compiler.load_binding()
    except Failure as failure:
        return Check(
            "libseccomp", "libseccomp binding", MISSING, failure.why,
            "linux.seccomp cannot be compiled: only profiles in the cache work",
            command=_apt_or_pip(),
        )  # fmt: skip
    return Check("libseccomp", "libseccomp binding", OK, f"{binding.__name__}")


def _apt_or_pip() -> str:
    # Debian's binding is for Debian's own interpreter.
    if os.path.dirname(sys.executable or "") == "/usr/bin":
        return "apt-get install python3-seccomp"
    return f"{sys.executable or 'python3'} -m pip install pyseccomp"


def _landlock() -> Check:
    abi = landlock_abi()
    if not abi:
        return Check(
            "landlock", "Landlock", MISSING, "not in this kernel, or switched off",
            "this defence is not to be had; the runtime does not need it",
            command=boot_with("lsm=landlock,yama,apparmor"),
        )  # fmt: skip
    holds = ", ".join([what for version, what in _LANDLOCK if version <= abi])
    return Check("landlock", "Landlock", OK, f"interface {abi}: {holds}")


def _apparmor() -> Check:
    if (read("/sys/module/apparmor/parameters/enabled") or "")[:1] == "Y":
        return Check("apparmor", "AppArmor", OK, "enabled")
    return Check(
        "apparmor", "AppArmor", MISSING, "not enabled",
        "process.apparmorProfile cannot be enforced",
        command="apt-get install apparmor && " + boot_with("apparmor=1 security=apparmor"),
    )  # fmt: skip


def _selinux() -> Check:
    enforcing = read("/sys/fs/selinux/enforce")
    if enforcing == "1":
        return Check("selinux", "SELinux", OK, "enforcing")
    if enforcing == "0":
        return Check(
            "selinux", "SELinux", LIMITED, "permissive",
            "process.selinuxLabel is set, and what it forbids is only logged",
            command="setenforce 1",
        )  # fmt: skip
    return Check(
        "selinux", "SELinux", MISSING, "not enabled",
        "process.selinuxLabel cannot be enforced",
        command="apt-get install selinux-basics selinux-policy-default && selinux-activate"
        " && reboot",
    )  # fmt: skip
