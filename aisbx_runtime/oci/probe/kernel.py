"""The kernel and what runs on it: version, system calls, interpreter, stub."""

from __future__ import annotations

import sys

from aisbx_runtime.oci import stub
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, why_of
from aisbx_runtime.oci.host import MINIMUM_KERNEL, kernel_version
from aisbx_runtime.oci.kernel.probe import CALLS, has_call
from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK, Check, read

_OUTER_SANDBOX = (
    "run it outside of the container or sandbox that it is in, or let that one's seccomp profile"
    " allow these calls"
)
_MACHINES = frozenset({"x86_64", "aarch64"})


def checks() -> list[Check]:
    """Return the checks of this topic."""
    return [_version(), _machine(), _calls(), _pidfd(), _stub(), _terminal(), _ptrace()]


def _version() -> Check:
    release = os.uname().release
    wanted = ".".join([str(part) for part in MINIMUM_KERNEL])
    new = kernel_version(release) >= MINIMUM_KERNEL
    return Check(
        "kernel", "kernel version", OK if new else MISSING, f"Linux {release}",
        "" if new else f"Linux {wanted} or newer is needed",
        command="" if new else "apt-get install linux-image-amd64 && reboot", needed=True,
    )  # fmt: skip


def _machine() -> Check:
    machine = os.uname().machine
    known = machine in _MACHINES
    python = ".".join([str(part) for part in sys.version_info[:3]])
    return Check(
        "machine", "machine", OK if known else MISSING, f"{machine}, Python {python}",
        "" if known else "the program that waits for start is made for x86_64 and aarch64 only",
        "" if known else "use a machine of one of these", needed=True,
    )  # fmt: skip


def _calls() -> Check:
    lost = [name for name in CALLS if not has_call(name)]
    return Check(
        "syscalls", "system calls", MISSING if lost else OK,
        f"ENOSYS: {', '.join(lost)}" if lost else f"all {len(CALLS)} that are needed",
        "containers cannot be made without them" if lost else "",
        _OUTER_SANDBOX if lost else "", needed=True,
    )  # fmt: skip


def _pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Check(
            "pidfd", "pidfd", MISSING, why_of(error),
            "processes cannot be waited for and signalled safely", _OUTER_SANDBOX, needed=True,
        )  # fmt: skip
    return Check("pidfd", "pidfd", OK, "processes are held by file descriptor", needed=True)


def _stub() -> Check:
    try:
        size = len(stub.binary())
    except (Failure, OSError):
        return Check(
            "stub", "stub", MISSING, f"{stub.PATH} cannot be read",
            "a container could not wait for start", command="make build", needed=True,
        )  # fmt: skip
    return Check("stub", "stub", OK, f"{size} bytes", needed=True)


def _terminal() -> Check:
    value = read("/proc/sys/dev/tty/legacy_tiocsti")
    if value == "0":
        return Check("tiocsti", "TIOCSTI", OK, "refused by the kernel")
    return Check(
        "tiocsti", "TIOCSTI", LIMITED,
        "dev.tty.legacy_tiocsti is 1" if value else "the kernel has no switch for it",
        "a program that is given your own terminal can type into it; one with a terminal of its"
        " own (process.terminal) cannot",
        "" if value else "run Linux 6.2 or newer, or give containers a terminal of their own",
        "sysctl -w dev.tty.legacy_tiocsti=0" if value else "",
    )  # fmt: skip


def _ptrace() -> Check:
    scope = read("/proc/sys/kernel/yama/ptrace_scope")
    if scope is None:
        return Check(
            "ptrace", "ptrace (Yama)", LIMITED, "Yama is not in this kernel",
            "processes of one user can trace each other, where a pid namespace does not part them",
            "give containers a pid namespace; or boot a kernel with CONFIG_SECURITY_YAMA",
        )  # fmt: skip
    if scope == "0":
        return Check(
            "ptrace", "ptrace (Yama)", LIMITED, "kernel.yama.ptrace_scope is 0",
            "processes of one user can trace each other, where a pid namespace does not part them",
            command="sysctl -w kernel.yama.ptrace_scope=1",
        )  # fmt: skip
    return Check("ptrace", "ptrace (Yama)", OK, f"kernel.yama.ptrace_scope is {scope}")
