"""Namespaces and network: what it has for itself, what it shares, and what follows from that."""

from __future__ import annotations

from aisbx_runtime.oci.explain.case import Danger, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case
    from aisbx_runtime.oci.spec.model import Namespace

# type -> (what a private one means, what sharing the host's means, weight of sharing)
_MEANING = {
    "mount": (
        "sees only the files listed below",
        "sees and changes the mounts of the host", 100,
    ),
    "pid": (
        "sees and signals only its own processes",
        "sees all processes of the host, and signals those of its user", 75,
    ),
    "network": (
        "has interfaces, addresses and ports of its own",
        "uses the host's interfaces and ports, and reaches its abstract unix sockets", 70,
    ),
    "ipc": (
        "has shared memory and message queues of its own",
        "reaches the shared memory and message queues of the host", 50,
    ),
    "user": (
        "its users, and its capabilities, count only inside",
        "its users are those outside", 0,
    ),
    "uts": (
        "has a host name of its own",
        "shows the host name of the host", 15,
    ),
    "cgroup": (
        "sees its own cgroup as the root",
        "sees where in the host's cgroups it is", 15,
    ),
    "time": (
        "has a boot-time clock of its own",
        "has the clocks of the host", 0,
    ),
}  # fmt: skip


def _one(case: Case, kind: str) -> tuple[str, Namespace | None]:
    for one in case.spec.linux.namespaces:
        if one.type == kind:
            return ("joined" if one.path else "new"), one
    return "shared", None


def namespaces(case: Case) -> Section:
    """Say for each type of namespace whose it is."""
    says: list[str] = []
    facts: dict[str, object] = {}
    for kind, (private, shared, _) in _MEANING.items():
        state, one = _one(case, kind)
        means = shared if state == "shared" else private
        path = one.path if one is not None else None
        if state == "joined":
            means = f"shares it with whoever else is in {path}"
        word = "shared with the host" if state == "shared" else state
        says.append(f"{kind} ({word}): {means}")
        facts[kind] = {"state": state, "path": path, "means": means}
    return Section("namespaces", "Namespaces", tuple(says), facts)


def network(case: Case) -> Section:
    """Say what it can reach."""
    state, one = _one(case, "network")
    path = one.path if one is not None else None
    devices = [device.new_name or device.name for device in case.spec.linux.net_devices]
    if state == "shared":
        says = ["the host's: every interface, every port, and services that listen on localhost"]
    elif state == "joined":
        says = [f"the one of {path}: what is reached there, whoever made it decides"]
    else:
        says = ["its own: loopback only, unless the engine or a hook adds an interface later"]
    says.extend([f"the interface {name} is moved into it" for name in devices])
    if case.spec.hostname:
        says.append(f"is called {case.spec.hostname}")
    facts: dict[str, object] = {
        "kind": {"shared": "host", "joined": "joined", "new": "own"}[state],
        "path": path,
        "interfaces": devices,
        "hostname": case.spec.hostname,
    }
    return Section("network", "Network", tuple(says), facts)


def dangers(case: Case) -> list[Danger]:
    """Return what sharing a namespace of the host opens."""
    found: list[Danger] = []
    for kind, (_, shared, weight) in _MEANING.items():
        if weight and _one(case, kind)[0] == "shared":
            found.append(
                Danger(
                    f"host-{kind}", weight if case.powerful else max(weight - 25, 10),
                    f"it shares the {kind} namespace of the host", f"it {shared}",
                    f'add {{"type": "{kind}"}} to linux.namespaces', "linux.namespaces",
                )
            )  # fmt: skip
    if case.powerful and "CAP_SYS_ADMIN" in (*case.held, *case.obtainable):
        found.append(
            Danger(
                "sys-admin-without-user-namespace", 95,
                "it has CAP_SYS_ADMIN, and no user namespace",
                "it can mount file systems and reconfigure the kernel: that is root of the host",
                "drop CAP_SYS_ADMIN, or give it a user namespace",
                "process.capabilities",
            )
        )  # fmt: skip
    return found
