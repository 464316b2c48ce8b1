"""System calls: how many are allowed and refused, and what of the noteworthy is still allowed."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci.explain.case import Danger, Section
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.seccomp.verdict import ALLOWING, decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case
    from aisbx_runtime.oci.spec.model import Seccomp

_CLONE_NEWUSER = 0x10000000
_WORDS = {
    "SCMP_ACT_ALLOW": "allowed",
    "SCMP_ACT_LOG": "allowed and logged",
    "SCMP_ACT_ERRNO": "refused with an error",
    "SCMP_ACT_KILL": "fatal to the thread",
    "SCMP_ACT_KILL_THREAD": "fatal to the thread",
    "SCMP_ACT_KILL_PROCESS": "fatal to the process",
    "SCMP_ACT_TRAP": "answered with SIGSYS",
    "SCMP_ACT_TRACE": "left to a tracer, refused without one",
    "SCMP_ACT_NOTIFY": "left to the listener",
}


@record
class Probe:
    """A call worth a word: `args` are those that decide, `needs` one of these capabilities."""

    name: str
    syscall: str
    args: tuple[tuple[int, int], ...]
    needs: tuple[str, ...]
    weight: int
    opens: str


_ADMIN = ("CAP_SYS_ADMIN",)
PROBES = (
    # Without any capability.
    Probe("unshare(CLONE_NEWUSER)", "unshare", ((0, _CLONE_NEWUSER),), (), 45,
          "a user namespace of its own, with all capabilities in it: much more kernel to attack"),
    Probe("clone(CLONE_NEWUSER)", "clone", ((0, _CLONE_NEWUSER | 17),), (), 45,
          "a user namespace of its own, with all capabilities in it: much more kernel to attack"),
    Probe("clone3", "clone3", (), (), 30,
          "all that clone can, with flags that no filter sees"),
    Probe("io_uring_setup", "io_uring_setup", (), (), 40,
          "input and output that no other rule of the filter sees"),
    Probe("socket(AF_ALG)", "socket", ((0, 38),), (), 30, "the kernel's ciphers, often flawed"),
    Probe("socket(AF_VSOCK)", "socket", ((0, 40),), (), 30,
          "the hypervisor below this machine: no network namespace holds that"),
    Probe("userfaultfd", "userfaultfd", (), (), 30, "a way to win races in the kernel"),
    Probe("keyctl", "keyctl", (), (), 30, "the keyrings, which know no namespaces"),
    Probe("add_key", "add_key", (), (), 25, "the keyrings, which know no namespaces"),
    Probe("perf_event_open", "perf_event_open", (), (), 35, "counters that spy on others"),
    Probe("ioctl(TIOCSTI)", "ioctl", ((1, 0x5412),), (), 25,
          "typing into the terminal of whoever started it"),
    Probe("personality", "personality", ((0, 0x0040000),), (), 15,
          "switching address randomisation off"),
    Probe("ptrace", "ptrace", (), (), 10, "the memory of its own processes"),
    Probe("process_vm_writev", "process_vm_writev", (), (), 10, "the memory of its own processes"),
    # With a capability.
    Probe("bpf", "bpf", (), ("CAP_BPF", *_ADMIN), 60, "programs in the kernel"),
    Probe("mount", "mount", (), _ADMIN, 50, "mounts"),
    Probe("fsopen", "fsopen", (), _ADMIN, 50, "mounts"),
    Probe("move_mount", "move_mount", (), _ADMIN, 50, "mounts"),
    Probe("setns", "setns", (), _ADMIN, 50, "namespaces of others"),
    Probe("open_by_handle_at", "open_by_handle_at", (), ("CAP_DAC_READ_SEARCH",), 90,
          "files outside of its root"),
    Probe("init_module", "init_module", (), ("CAP_SYS_MODULE",), 100, "code in the kernel"),
    Probe("finit_module", "finit_module", (), ("CAP_SYS_MODULE",), 100, "code in the kernel"),
    Probe("kexec_load", "kexec_load", (), ("CAP_SYS_BOOT",), 90, "another kernel"),
    Probe("kexec_file_load", "kexec_file_load", (), ("CAP_SYS_BOOT",), 90, "another kernel"),
    Probe("reboot", "reboot", (), ("CAP_SYS_BOOT",), 60, "the end of the machine"),
    Probe("iopl", "iopl", (), ("CAP_SYS_RAWIO",), 80, "the I/O ports"),
    Probe("ioperm", "ioperm", (), ("CAP_SYS_RAWIO",), 80, "the I/O ports"),
    Probe("swapon", "swapon", (), _ADMIN, 40, "the swap of the machine"),
    Probe("quotactl", "quotactl", (), _ADMIN, 20, "disk quotas"),
    Probe("fanotify_init", "fanotify_init", (), _ADMIN, 20, "watching all files"),
    Probe("clock_settime", "clock_settime", (), ("CAP_SYS_TIME",), 40, "the clock"),
    Probe("syslog", "syslog", (), ("CAP_SYSLOG", *_ADMIN), 20, "the log of the kernel"),
)  # fmt: skip


def usable(case: Case) -> tuple[tuple[Probe, str], ...]:
    """Return the noteworthy calls that are not refused, with the verdict."""
    held = set(case.held)
    found: list[tuple[Probe, str]] = []
    for one in PROBES:
        verdict = decide(case.spec.linux.seccomp, one.syscall, dict(one.args))
        if verdict != "refused" and (not one.needs or held & set(one.needs)):
            found.append((one, verdict))
    return tuple(found)


def syscalls(case: Case) -> Section:
    """Say what the filter does."""
    seccomp = case.spec.linux.seccomp
    noteworthy = [
        {"call": one.name, "verdict": verdict, "opens": one.opens} for one, verdict in usable(case)
    ]
    if seccomp is None:
        says = ["there is no filter: every system call of the kernel is allowed"]
        facts: dict[str, object] = {
            "filtered": False, "default": None, "allowed": None, "conditional": None,
            "refused": None, "architectures": [], "noteworthy": noteworthy,
        }  # fmt: skip
    else:
        says, facts = _filtered(seccomp)
        facts["noteworthy"] = noteworthy
    names = [f"{one['call']}" + (" (partly)" if one["verdict"] == "depends" else "")
             for one in noteworthy]  # fmt: skip
    says.append(
        f"noteworthy and not refused: {page.listed(names)}"
        if names else "none of the noteworthy ones is allowed"
    )  # fmt: skip
    return Section("syscalls", "System calls", tuple(says), facts)


def _filtered(seccomp: Seccomp) -> tuple[list[str], dict[str, object]]:
    names = sorted({name for rule in seccomp.syscalls for name in rule.names})
    groups: dict[str, list[str]] = {"allowed": [], "refused": [], "depends": []}
    for name in names:
        groups[decide(seccomp, name, {})].append(name)
    word = _WORDS.get(seccomp.default_action, seccomp.default_action)
    says = [f"what the filter does not name is {word}"]
    if groups["allowed"]:
        says.append(f"{page.counted(len(groups['allowed']), 'call')} it allows by name")
    if groups["refused"]:
        shown = page.listed(groups["refused"], 12)
        says.append(f"{page.counted(len(groups['refused']), 'call')} it refuses by name: {shown}")
    if groups["depends"]:
        shown = page.listed(groups["depends"], 12)
        count = page.counted(len(groups["depends"]), "call")
        says.append(f"{count}, depending on arguments or on a listener: {shown}")
    says.append(
        f"it counts for programs of: {page.listed([_short(name) for name in _archs(seccomp)])}"
        if seccomp.architectures else "it counts for native programs; others are ended"
    )  # fmt: skip
    facts: dict[str, object] = {
        "filtered": True,
        "default": seccomp.default_action,
        "allowed": {"count": len(groups["allowed"]), "names": groups["allowed"]},
        "conditional": {"count": len(groups["depends"]), "names": groups["depends"]},
        "refused": {"count": len(groups["refused"]), "names": groups["refused"]},
        "architectures": list(seccomp.architectures),
    }
    return says, facts


def _archs(seccomp: Seccomp) -> tuple[str, ...]:
    return seccomp.architectures


def _short(name: str) -> str:
    return name.removeprefix("SCMP_ARCH_").lower()


def dangers(case: Case) -> list[Danger]:
    """Return the lack of a filter, or the noteworthy calls that it lets through."""
    seccomp = case.spec.linux.seccomp
    if seccomp is None:
        return [
            Danger(
                "no-seccomp", 65, "there is no seccomp filter",
                "every system call of the kernel, and each of its flaws, is within reach",
                "give it a profile (engines have a default one)", "linux.seccomp",
            )
        ]  # fmt: skip
    found: list[Danger] = []
    if seccomp.default_action in ALLOWING:
        found.append(
            Danger(
                "seccomp-allows-by-default", 50, "the seccomp filter refuses only what it names",
                "system calls that are newer than the profile are allowed",
                "make SCMP_ACT_ERRNO the default and name what is needed",
                "linux.seccomp.defaultAction",
            )
        )  # fmt: skip
    reasons: dict[tuple[int, str], list[str]] = {}
    for one, verdict in usable(case):
        # What needs a capability that counts nowhere but inside is not held against it.
        if verdict == "allowed" and (case.powerful or not one.needs) and one.weight >= 25:
            reasons.setdefault((one.weight, one.opens), []).append(one.name)
    for (weight, opens), calls in reasons.items():
        found.append(
            Danger(
                "syscall", weight, f"it may call {page.listed(calls)}", f"that gives it {opens}",
                "refuse it in linux.seccomp, if it is not needed", "linux.seccomp.syscalls",
            )
        )  # fmt: skip
    return found
