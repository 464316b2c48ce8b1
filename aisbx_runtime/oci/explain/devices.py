"""Devices: the nodes in its /dev, and which devices of the host its cgroup lets it use."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci.bpf.devices import READ, WRITE, allows_everything, decisive
from aisbx_runtime.oci.explain.case import Danger, Section
from aisbx_runtime.oci.plan import devices as planned
from aisbx_runtime.oci.plan.cgroup_devices import DEFAULTS, rules_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case
    from aisbx_runtime.oci.spec.model import Device

_HARMLESS = frozenset(one.path for one in planned.DEFAULT_DEVICES)
# character devices: number -> (weight, what it is); Documentation/admin-guide/devices.txt
_KNOWN = {
    (1, 1): (100, "the memory of the machine"),
    (1, 2): (100, "the memory of the kernel"),
    (1, 4): (100, "the I/O ports"),
    (1, 11): (40, "the log of the kernel"),
    (5, 1): (40, "the console of the host"),
    (10, 229): (20, "file systems in user space (fuse)"),
    (10, 232): (40, "virtual machines (kvm)"),
    (10, 200): (15, "network tunnels (tun)"),
    (10, 237): (70, "the control of loop devices"),
    (10, 236): (80, "the device mapper"),
    (10, 223): (60, "forged input (uinput)"),
    (29, 0): (30, "the screen"),
    (226, 0): (20, "the graphics card"),
    (226, 128): (15, "the graphics card"),
}
_TERMINALS, _INPUT = 4, 13


def devices(case: Case) -> Section:
    """Say which device nodes it has and which devices it may use."""
    bound = planned.is_dev_bound(case.spec)
    nodes = [] if bound else planned.wanted(case.spec)
    rules = rules_of(case.spec.linux)
    everything = allows_everything(rules)
    filtered = bool(rules) and _is_filtered(case)
    extra = [one for one, _ in nodes if one.path not in _HARMLESS]
    says = ["/dev is the host's own: all its devices are there"] if bound else []
    if not bound:
        says.append(f"nodes that every container has: {page.listed(sorted(_HARMLESS))}")
        if extra:
            says.append(f"nodes on top of these: {page.listed([_node(one) for one in extra], 12)}")
    if not filtered:
        says.append("no device rules: what keeps it from other devices is only that it has no node")
    elif everything:
        says.append("the device rules allow every device of the host")
    else:
        own = [text_of(rule) for rule in rules if rule.allow and rule not in DEFAULTS]
        says.append(
            f"the device rules allow besides: {page.listed(own, 8)}"
            if own else "the device rules allow nothing else"
        )  # fmt: skip
    facts: dict[str, object] = {
        "dev_is_host": bound,
        "nodes": [
            {
                "path": one.path, "type": one.type, "major": one.major, "minor": one.minor,
                "origin": origin, "is": _meaning(one)[1] or None,
            }
            for one, origin in nodes
        ],
        "filtered": filtered,
        "allows_everything": not filtered or everything,
        "rules": [
            f"{'allow' if rule.allow else 'deny'} {text_of(rule)}" for rule in rules
        ],
    }  # fmt: skip
    return Section("devices", "Devices", tuple(says), facts)


def _is_filtered(case: Case) -> bool:
    kinds = {type(step).__name__ for _, _, step in case.plan.numbered()}
    return "FilterDevices" in kinds


def _node(one: Device) -> str:
    what = _meaning(one)[1]
    return f"{one.path} ({what})" if what else one.path


def _meaning(one: Device) -> tuple[int, str]:
    if one.type == "p":
        return 0, ""
    if one.type == "b":
        return 90, "a disk, or a part of one"
    if one.major == _INPUT:
        return 60, "keyboard and mouse"
    if one.major == _TERMINALS:
        return 40, "a terminal of the host"
    return _KNOWN.get((one.major, one.minor), (0, ""))


def dangers(case: Case) -> list[Danger]:
    """Return a danger for wide device rules, and one for each kind of dangerous node."""
    found: list[Danger] = []
    makes = "CAP_MKNOD" in (*case.held, *case.obtainable)
    if case.powerful and (not _is_filtered(case) or _opens_disks(case)):
        found.append(
            Danger(
                "every-device", 90 if makes else 40, "nothing keeps it from the host's devices",
                "with CAP_MKNOD it makes a node of a disk and reads and writes it"
                if makes else "a node of a disk that comes into its sight, it can use",
                "deny all in linux.resources.devices, then allow the few that it needs",
                "linux.resources.devices",
            )
        )  # fmt: skip
    groups: dict[tuple[int, str], list[tuple[str, str]]] = {}
    if not planned.is_dev_bound(case.spec):
        for one, origin in planned.wanted(case.spec):
            weight, what = _meaning(one)
            if weight and one.path not in _HARMLESS:
                groups.setdefault((weight, what), []).append((one.path, origin))
    for (weight, what), nodes in groups.items():
        shown = page.listed([path for path, _ in nodes], 4)
        found.append(
            Danger(
                "device", weight if case.powerful else max(weight - 30, 10),
                f"it has {shown}: {what}", "what the device can do, it can do",
                "drop the device", page.listed([origin for _, origin in nodes], 4),
            )
        )  # fmt: skip
    return found


def _opens_disks(case: Case) -> bool:
    return any(
        rule.allow and rule.kind in {"a", "b"} and rule.major is None
        and rule.access & (READ | WRITE)
        for rule in decisive(rules_of(case.spec.linux))
    )  # fmt: skip
