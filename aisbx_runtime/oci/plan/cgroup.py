"""The container's cgroups: which directories, made and joined how, and limited to what.

Pure. Directories live in `cgroup_places`, values for files in `cgroup_v1` and `cgroup_v2`, steps in
`cgroup_make` and `cgroup_steps`, device rules in `cgroup_devices`; what acts later in `oci.cgroup`.
"""

from __future__ import annotations

from aisbx_runtime.oci.bpf.devices import allows_everything
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.plan import cgroup_devices, cgroup_v1, cgroup_v2, namespaces
from aisbx_runtime.oci.plan.cgroup_make import MakeCgroup
from aisbx_runtime.oci.plan.cgroup_places import (
    Place,
    place_at,
    place_of,
    places_of,
    unified_path,
)
from aisbx_runtime.oci.plan.cgroup_steps import (
    JoinCgroup,
    OpenCgroup,
    RefuseBelowUsage,
    Setting,
    WriteLimits,
)
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.cgroup_v2 import Settings
    from aisbx_runtime.oci.plan.step import Step
    from aisbx_runtime.oci.spec.model import Linux, Resources, Spec
    from aisbx_runtime.oci.systemd.instance import Instance

_ORIGIN = "linux.cgroupsPath"
_BASE = "linux.resources"
# What engines show figures of and what `update` may limit later; enabled where it can be had.
_OFFERED = ("cpu", "cpuset", "io", "memory", "pids")


@record
class CgroupPlan:
    """The steps of three phases, and the directories that are the container's cgroup.

    `paths` starts with the one that freezes and kills: cgroup v2 where there is one (on a hybrid
    host too), else the freezer of v1.
    """

    early: tuple[Step, ...] = ()
    join: tuple[Step, ...] = ()
    limits: tuple[Step, ...] = ()
    paths: tuple[str, ...] = ()
    # Of the systemd manager: name of the scope, a space, address of its systemd.
    scope: str = ""


def plan(
    spec: Spec, host: Host, container_id: str, manager: str, systemd: Instance | None = None
) -> CgroupPlan:
    """Return how the container gets its cgroups. Raises Failure for limits that cannot be had.

    `systemd` is the one that makes them when it is the manager.
    """
    if manager == "disabled":
        return CgroupPlan()
    if manager == "systemd":
        from aisbx_runtime.oci.plan import scope

        return scope.plan(spec, host, container_id, systemd)
    places = places_of(spec.linux.cgroups_path, host, container_id)
    optional = is_optional(host)
    zero_is_a_limit = minor_version(spec.oci_version) >= (1, 3)
    wanted = settings(spec.linux.resources, places, zero_is_a_limit=zero_is_a_limit)
    used = enforceable(wanted, places, optional=optional)
    limits = [
        *limit_steps(spec.linux.resources, used, places, optional=optional),
        *device_steps(spec.linux, places, optional=optional),
    ]
    early = [
        *_make_steps(places, host, limited(used, spec.linux.resources), optional=optional),
        *_realtime_steps(spec.linux.resources, places, optional=optional),
    ]
    early += delegate_steps(spec, places, optional=optional)
    born_in = "" if optional else unified_path(places)
    if born_in:
        early.append(OpenCgroup(_ORIGIN, born_in))
    join = [JoinCgroup(_ORIGIN, one.path, optional) for one in places if one.path != born_in]
    paths = tuple([one.path for one in places])
    return CgroupPlan(tuple(early), tuple(join), tuple(limits), paths)


def update(
    resources: Resources, host: Host, paths: tuple[str, ...], oci_version: str
) -> tuple[Step, ...]:
    """Return the steps that change only the limits given, in the cgroup that `paths` are.

    Device rules are not changed: engines send none, and runc ignores them. Limits are never
    optional here: somebody asks for this one now.
    """
    places = tuple([place_at(path, host) for path in paths])
    optional = False
    zero_is_a_limit = minor_version(oci_version) >= (1, 3)
    wanted = settings(resources, places, zero_is_a_limit=zero_is_a_limit)
    used = enforceable(wanted, places, optional=optional)
    return (
        *_usage_checks(resources, places),
        *limit_steps(resources, used, places, optional=optional),
        *_realtime_steps(resources, places, optional=optional),
    )


def is_optional(host: Host) -> bool:
    """Tell whether cgroups are done without where they cannot be had.

    Engines rely on it when rootless (contract.md 8); anywhere else a limit holds or create fails.
    """
    return host.user_namespace or host.euid != 0


def minor_version(text: str) -> tuple[int, ...]:
    """Return (major, minor) of a version of the runtime spec."""
    parts = text.split("-", 1)[0].split(".")[:2]
    return tuple([int(part) if part.isdigit() else 0 for part in parts])


# ---- what ----------------------------------------------------------------------------------------
def settings(
    resources: Resources | None, places: tuple[Place, ...], *, zero_is_a_limit: bool
) -> tuple[tuple[str, Settings], ...]:
    """Return (controller, settings) for each controller that something is asked of."""
    if resources is None:
        return ()
    found: list[tuple[str, Settings]] = []

    def on_v1(controller: str) -> bool:
        place = place_of(controller, places)
        return place is not None and place.version == 1

    if resources.memory is not None:
        memory = cgroup_v1.memory if on_v1("memory") else cgroup_v2.memory
        found.append(("memory", memory(resources.memory)))
    if resources.cpu is not None:
        cpu = cgroup_v1.cpu if on_v1("cpu") else cgroup_v2.cpu
        found.append(("cpu", cpu(resources.cpu)))
        found.append(("cpuset", cgroup_v2.cpuset(resources.cpu)))
    if resources.pids is not None:
        pids = cgroup_v2.pids(resources.pids, zero_is_a_limit=zero_is_a_limit)
        found.append(("pids", pids))
    if resources.hugepage_limits:
        hugetlb = cgroup_v1.hugetlb if on_v1("hugetlb") else cgroup_v2.hugetlb
        found.append(("hugetlb", hugetlb(resources.hugepage_limits)))
    found.append(("rdma", cgroup_v2.rdma(resources.rdma)))
    return (*found, *_io_settings(resources, places), *_other_settings(resources, places))


def _io_settings(
    resources: Resources, places: tuple[Place, ...]
) -> tuple[tuple[str, Settings], ...]:
    # The one controller whose name differs between the versions.
    if resources.block_io is None:
        return ()
    if place_of("blkio", places) is not None:
        return (("blkio", cgroup_v1.blkio(resources.block_io)),)
    return (("io", cgroup_v2.io(resources.block_io)),)


def _other_settings(
    resources: Resources, places: tuple[Place, ...]
) -> tuple[tuple[str, Settings], ...]:
    found: list[tuple[str, Settings]] = []
    if resources.network is not None:
        found.append(("net_cls", cgroup_v1.net_cls(resources.network)))
        found.append(("net_prio", cgroup_v1.net_prio(resources.network)))
    for group in cgroup_v2.unified(resources.unified):
        controller = group[0].file.split(".", 1)[0]
        place = place_of(controller, places)
        if place is not None and place.version == 1:
            raise cgroup_v2.refuse(
                group[0].origin,
                # The first two words are runc's.
                f'invalid configuration: the "{controller}" controller is one of cgroup v1 here',
            )
        found.append((controller, (group,)))
    return tuple(found)


def enforceable(
    wanted: tuple[tuple[str, Settings], ...], places: tuple[Place, ...], *, optional: bool
) -> tuple[tuple[str, Settings], ...]:
    """Return what can be written. Raises HostError that names a missing controller."""
    kept: list[tuple[str, Settings]] = []
    for controller, settings in wanted:
        if _holder_of(controller, places) is not None:
            kept.append((controller, settings))
            continue
        limits = [one for group in settings for one in group if one.limits()]
        if limits and not optional:
            raise HostError(
                f'{_BASE}.{limits[0].origin} cannot be enforced: there is no "{controller}" cgroup '
                "controller on this host",
                where="config.json",
                hint=f"mount the {controller} controller (it may be turned off on the kernel "
                "command line), or remove the limit",
            )
    return tuple(kept)


def _holder_of(controller: str, places: tuple[Place, ...]) -> Place | None:
    """Return the place whose files have this prefix: `cgroup.` files are those of v2 itself."""
    if controller == "cgroup":
        return next((one for one in places if one.version == 2), None)
    return place_of(controller, places)


# ---- steps ---------------------------------------------------------------------------------------
def limited(used: tuple[tuple[str, Settings], ...], resources: Resources | None) -> frozenset[str]:
    """Return the controllers whose files must be there."""
    names = [name for name, groups in used for group in groups for one in group if one.limits()]
    if resources is not None and cgroup_v2.lone_period(resources.cpu):
        names.append("cpu")
    return frozenset(names)


def _make_steps(
    places: tuple[Place, ...], host: Host, limited: frozenset[str], *, optional: bool
) -> list[Step]:
    steps: list[Step] = []
    for one in places:
        offered = _OFFERED if host.unified else ()
        needed = [name for name in one.controllers if one.version == 2 and name in limited]
        steps.append(
            MakeCgroup(
                _ORIGIN,
                one.mount_point,
                one.path,
                needed=tuple(needed),
                offered=tuple([n for n in offered if n in one.controllers and n not in needed]),
                inherited=_V1_CPUSET if one.version == 1 and "cpuset" in one.controllers else (),
                optional=optional,
            )
        )
    return steps


_V1_CPUSET = ("cpuset.cpus", "cpuset.mems")


def delegate_steps(spec: Spec, places: tuple[Place, ...], *, optional: bool) -> list[Step]:
    """Return the step that gives the cgroup to the container's user, where that may use it."""
    # Only where the container can use it: v2, seen as a root of its own, mounted read-write. On v1
    # it would let the container raise its own limits.
    path = unified_path(places)
    writable = any(
        one.type in {"cgroup", "cgroup2"} and not {"ro", "rro"} & set(one.options)
        for one in spec.mounts
    )
    own_root = any(one.type == "cgroup" and not one.path for one in spec.linux.namespaces)
    if optional or not (path and writable and own_root) or spec.process is None:
        return []
    uid = _host_uid(spec.process.user.uid, spec.linux)
    return [cgroup_v2.DelegateCgroup(_ORIGIN, path, uid)] if uid > 0 else []


def _host_uid(uid: int, linux: Linux) -> int:
    """Return what `uid` is outside of the container's user namespace, -1 when nothing."""
    if not linux.uid_mappings:
        # One that is joined by path has its map in the kernel only: nothing is given then.
        return -1 if any(one.type == "user" for one in linux.namespaces) else uid
    return namespaces.outside(uid, linux.uid_mappings)


def limit_steps(
    resources: Resources | None,
    used: tuple[tuple[str, Settings], ...],
    places: tuple[Place, ...],
    *,
    optional: bool,
) -> list[Step]:
    """Return the writes of the limits in `used`."""
    steps: list[Step] = []
    for controller, groups in used:
        place = _holder_of(controller, places)
        if place is None:
            continue
        period = cgroup_v2.lone_period(resources.cpu if resources is not None else None)
        if controller == "cpu" and place.version == 2 and period:
            # Before the burst, which may not exceed what quota and period allow.
            origin = f"{_BASE}.cpu.period"
            steps.append(cgroup_v2.WriteCpuPeriod(origin, place.path, period))
        steps += _writes(groups, place, optional=optional)
    return steps


def _realtime_steps(
    resources: Resources | None, places: tuple[Place, ...], *, optional: bool
) -> list[Step]:
    place = place_of("cpu", places)
    if place is None or place.version == 2 or resources is None or resources.cpu is None:
        return []
    return _writes(cgroup_v1.realtime(resources.cpu), place, optional=optional)


def _writes(groups: Settings, place: Place, *, optional: bool) -> list[Step]:
    steps: list[Step] = []
    for group in groups:
        settings = tuple([_with_base(one) for one in group])
        origin = settings[0].origin
        if len(settings) > 1:
            origin = origin.rpartition(".")[0]
        steps.append(WriteLimits(origin, place.path, settings, optional))
    return steps


def _with_base(one: Setting) -> Setting:
    return Setting(f"{_BASE}.{one.origin}", one.file, one.value, one.other)


def device_steps(
    linux: Linux, places: tuple[Place, ...], *, optional: bool, beside_others: bool = False
) -> list[Step]:
    """Return the step that judges devices.

    `beside_others` keeps a filter that is there, such as one that systemd was asked for.
    """
    rules = cgroup_devices.rules_of(linux)
    if not rules:
        return []
    origin = f"{_BASE}.devices"
    place = place_of("devices", places)
    if place is not None:
        allow, exceptions = cgroup_devices.exceptions_of(rules)
        return [cgroup_v1.FilterDevices(origin, place.path, allow, exceptions, optional)]
    if allows_everything(rules):
        return []
    path = unified_path(places)
    if path:
        return [cgroup_v2.FilterDevices(origin, path, rules, optional, beside_others)]
    if optional:
        return []
    raise HostError(
        f"{origin} cannot be enforced: there is neither cgroup v2 nor the devices controller of v1",
        where="config.json",
        hint="mount /sys/fs/cgroup",
    )


def _usage_checks(resources: Resources, places: tuple[Place, ...]) -> list[Step]:
    memory = resources.memory
    place = place_of("memory", places)
    if memory is None or not memory.check_before_update or place is None:
        return []
    limit = memory.limit or 0
    if limit <= 0:
        return []
    file = "memory.current" if place.version == 2 else "memory.usage_in_bytes"
    return [RefuseBelowUsage(f"{_BASE}.memory.limit", f"{place.path}/{file}", limit)]
