"""Files: the root, the mounts, what is masked or read-only, what of the host is within reach."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.explain.case import Danger, Section
from aisbx_runtime.oci.explain.places import reach_of
from aisbx_runtime.oci.plan import mounts, rootfs
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.mount_options import MOUNT_ATTR_RDONLY, MS_SHARED, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case
    from aisbx_runtime.oci.spec.model import Mount

# Types that show the kernel's own state rather than files.
_KERNEL_TYPES = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "bpf"})
# What engines mask, whose absence is worth a word.
_SECRETS = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware")
_SWITCHES = ("/proc/sys", "/proc/sysrq-trigger")
_SENDERS = frozenset({"shared", "rshared"})


@record
class Place:
    """One mount: `kind` is host, kernel or new; `below`: what is mounted below stays writable."""

    path: str
    kind: str
    type: str
    source: str
    writable: bool
    below: bool
    mapped: bool
    origin: str


def places_of(case: Case) -> tuple[Place, ...]:
    """Return the mounts of the container in order."""
    return tuple([_place(index, one, case) for index, one in enumerate(case.spec.mounts)])


def _place(index: int, one: Mount, case: Case) -> Place:
    options = resolve(one.options)
    read_only = bool((options.attr_set | options.rec_attr_set) & MOUNT_ATTR_RDONLY)
    whole = bool(options.rec_attr_set & MOUNT_ATTR_RDONLY)
    bind = mounts.is_bind(one)
    source = os.path.normpath(os.path.join(case.bundle, one.source)) if bind else ""
    kind = "host" if bind else "kernel" if one.type in _KERNEL_TYPES else "new"
    return Place(
        path=one.destination,
        kind=kind,
        type="bind" if bind else one.type,
        source=source,
        writable=not read_only,
        below=bind and read_only and options.recursive_bind and not whole,
        mapped=options.idmap or options.ridmap or bool(one.uid_mappings or one.gid_mappings),
        origin=f"mounts[{index}]",
    )


def files(case: Case) -> Section:
    """Say what it sees, what it may change and where that comes from."""
    root = rootfs.path_of(case.spec, case.bundle)
    places = places_of(case)
    masked, read_only = case.spec.linux.masked_paths, case.spec.linux.readonly_paths
    how = "read-only" if case.spec.root.readonly else "writable"
    says = [f"/ is {root} of the host, {how}"]
    says.extend([_told(one) for one in places if one.kind == "host"])
    for kind, what in (("new", "new and empty"), ("kernel", "a view of the kernel")):
        for writable, word in ((True, "writable"), (False, "read-only")):
            paths = [one.path for one in places if one.kind == kind and one.writable == writable]
            if paths:
                says.append(f"{what}, {word}: {page.listed(paths)}")
    if read_only:
        says.append(f"made read-only: {page.listed(read_only)}")
    if masked:
        says.append(f"masked, reads as empty: {page.listed(masked, 16)}")
    facts: dict[str, object] = {
        "root": {"path": root, "writable": not case.spec.root.readonly},
        "mounts": [
            {
                "path": one.path,
                "from": one.kind,
                "type": one.type,
                "source": one.source or None,
                "writable": one.writable,
                "writable_below": one.below,
                "ids_mapped": one.mapped,
                "origin": one.origin,
            }
            for one in places
        ],
        "masked": list(masked),
        "read_only": list(read_only),
    }
    return Section("files", "Files", tuple(says), facts)


def _told(one: Place) -> str:
    how = "writable" if one.writable else "read-only"
    if one.below:
        how += ", but what is mounted below it on the host stays writable"
    if one.mapped:
        how += ", with the owners of its files mapped"
    return f"{one.path} is {one.source} of the host, {how}"


def dangers(case: Case) -> list[Danger]:
    """Return what of the host is within reach."""
    return [
        *_of_sources(case),
        *_of_kernel(case),
        *_of_propagation(case),
    ]


def _of_sources(case: Case) -> list[Danger]:
    found: list[Danger] = []
    plain: list[Place] = []
    for one in places_of(case):
        if one.kind != "host":
            continue
        reach = reach_of(one.source, writable=one.writable or one.below)
        if reach is not None:
            # Behind a user namespace the modes of files count again; sockets ask nobody's mode.
            relief = 0 if case.powerful or reach.socket else 30
            found.append(
                Danger(
                    "host-socket" if reach.socket else "host-path",
                    max(reach.weight - relief, 10),
                    f"{one.source} of the host is at {one.path}"
                    + ("" if reach.socket else ", writable" if one.writable else ""),
                    reach.why, f"drop {one.origin}, or bind only what is needed, read-only",
                    one.origin,
                )
            )  # fmt: skip
        elif one.writable:
            plain.append(one)
    if plain:
        shown = page.listed([one.source for one in plain], 4)
        found.append(
            Danger(
                "host-path-writable", 25, f"it can write to the host: {shown}",
                "what others do with these files, it can influence",
                'add "ro" where it only has to read', page.listed([one.origin for one in plain], 4),
            )
        )  # fmt: skip
    return found


def _of_kernel(case: Case) -> list[Danger]:
    found: list[Danger] = []
    kernel = {one.type: one for one in places_of(case) if one.kind == "kernel"}
    covered = (*case.spec.linux.masked_paths, *case.spec.linux.readonly_paths)
    proc = kernel.get("proc")
    open_switches = [path for path in _SWITCHES if path not in covered]
    if proc is not None and proc.writable and open_switches:
        found.append(
            Danger(
                "proc-writable", 80 if case.powerful else 30,
                f"{page.listed(open_switches)} can be written",
                "settings of the whole kernel are there, such as the program that it starts for"
                " core dumps",
                "add /proc/sys and /proc/sysrq-trigger to linux.readonlyPaths",
                "linux.readonlyPaths",
            )
        )  # fmt: skip
    bare = [path for path in _SECRETS if path not in covered]
    if proc is not None and bare:
        found.append(
            Danger(
                "unmasked", 35 if case.powerful else 15, f"not masked: {page.listed(bare)}",
                "they tell of the kernel's memory, keys, timers and firmware",
                "add them to linux.maskedPaths", "linux.maskedPaths",
            )
        )  # fmt: skip
    sysfs = kernel.get("sysfs")
    if sysfs is not None and sysfs.writable and case.powerful:
        found.append(
            Danger(
                "sysfs-writable", 75, "/sys can be written",
                "devices, power and modules of the host are controlled there",
                'add "ro" to the mount of /sys', sysfs.origin,
            )
        )  # fmt: skip
    return found + _of_cgroup(case, [one for one in kernel.values() if "cgroup" in one.type])


def _of_cgroup(case: Case, found: list[Place]) -> list[Danger]:
    if not case.powerful:
        return []
    return [
        Danger(
            "cgroup-writable", 60, f"{one.path} can be written",
            "it can lift its own limits; with cgroup v1, a release agent runs on the host",
            'add "ro" to the mount', one.origin,
        )
        for one in found if one.writable
    ]  # fmt: skip


def _of_propagation(case: Case) -> list[Danger]:
    found: list[Danger] = []
    root = case.spec.linux.rootfs_propagation
    if root in _SENDERS:
        found.append(
            Danger(
                "root-shared", 30, f"its root is {root}",
                "mounts it makes reach others that share its root",
                'set linux.rootfsPropagation to "rprivate"', "linux.rootfsPropagation",
            )
        )  # fmt: skip
    for index, one in enumerate(case.spec.mounts):
        if mounts.is_bind(one) and resolve(one.options).propagation == MS_SHARED:
            found.append(
                Danger(
                    "bind-shared", 50 if case.powerful else 20,
                    f"{one.destination} is shared with the host",
                    "what it mounts there appears on the host",
                    'write "rslave" or "rprivate"', f"mounts[{index}].options",
                )
            )  # fmt: skip
    return found
