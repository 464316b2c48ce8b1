"""Capabilities: what the program holds once it runs, and what the dangerous ones allow."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci.explain.case import Danger, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case

# capability -> (weight where it counts against the host, what it allows); capabilities(7)
DANGEROUS = {
    "CAP_SYS_MODULE": (100, "load code into the kernel"),
    "CAP_SYS_RAWIO": (95, "write to physical memory, ports and disks"),
    "CAP_DAC_READ_SEARCH": (90, "read any file of a mounted disk, also outside its root"),
    "CAP_SYS_PTRACE": (65, "read and change the memory of any process it sees"),
    "CAP_BPF": (65, "load programs into the kernel"),
    "CAP_SYS_BOOT": (80, "reboot the machine, load another kernel"),
    "CAP_MAC_ADMIN": (65, "change the rules of the security modules"),
    "CAP_MAC_OVERRIDE": (65, "ignore the rules of the security modules"),
    "CAP_PERFMON": (50, "observe the kernel and all processes"),
    "CAP_NET_ADMIN": (40, "change interfaces, routes and firewall of its network"),
    "CAP_SYS_TIME": (50, "set the clock of the machine"),
    "CAP_CHECKPOINT_RESTORE": (35, "dump and forge processes it sees"),
    "CAP_SYSLOG": (35, "read the kernel's log and its addresses"),
    "CAP_SYS_RESOURCE": (35, "pass over quotas and resource limits"),
    "CAP_LINUX_IMMUTABLE": (30, "change files marked immutable"),
    "CAP_AUDIT_CONTROL": (40, "switch the audit off"),
    "CAP_SYS_NICE": (20, "take processor time from everybody else"),
    "CAP_IPC_LOCK": (20, "lock memory"),
    "CAP_MKNOD": (25, "make device nodes; only the device rules keep it from using them"),
    "CAP_NET_RAW": (20, "forge packets on its network"),
    "CAP_SETFCAP": (20, "put its capabilities on files, for others who run them"),
    "CAP_DAC_OVERRIDE": (15, "read and write files whatever their mode"),
    "CAP_SYS_ADMIN": (0, "mount, join namespaces, and a third of all privileged calls"),
}


def capabilities(case: Case) -> Section:
    """Say what it holds, what it could get, and where that counts."""
    held, more = case.held, case.obtainable
    says: list[str] = []
    if held:
        says.append(f"holds {page.counted(len(held), 'capability')}: "
                    f"{page.listed([_short(name) for name in held])}")  # fmt: skip
    else:
        says.append("holds no capabilities")
    if more:
        says.append(
            "could get by a setuid program or file capabilities of the image: "
            + page.listed([_short(name) for name in more])
        )
    if held or more:
        says.append(
            "these count against the host itself"
            if case.powerful
            else "these count only inside a user namespace"
        )
    dangerous = [name for name in DANGEROUS if name in held]
    says.extend([f"{_short(name)} allows to {DANGEROUS[name][1]}" for name in dangerous])
    facts: dict[str, object] = {
        "held": list(held),
        "obtainable": list(more),
        "counts_on_host": case.powerful,
        "dangerous": [{"name": name, "allows": DANGEROUS[name][1]} for name in dangerous],
    }
    return Section("capabilities", "Capabilities", tuple(says), facts)


def _short(name: str) -> str:
    return name.removeprefix("CAP_").lower()


def dangers(case: Case) -> list[Danger]:
    """Return a danger for each capability that counts against the host."""
    if not case.powerful:
        return []
    found: list[Danger] = []
    for name, (weight, allows) in DANGEROUS.items():
        heavy = weight + (25 if _is_amplified(case, name) else 0)
        if heavy and name in case.held:
            found.append(
                Danger(
                    name.lower().replace("_", "-"), min(heavy, 100), f"it holds {name}",
                    f"it may {allows}",
                    f"drop {name} from every set of process.capabilities",
                    "process.capabilities",
                )
            )  # fmt: skip
    return found


def _is_amplified(case: Case, name: str) -> bool:
    """Tell whether a capability reaches further because a namespace is the host's."""
    if name in {"CAP_NET_ADMIN", "CAP_NET_RAW"}:
        return not case.has("network")
    return name in {"CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE"} and not case.has("pid")
