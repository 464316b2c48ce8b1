"""THE ORDER, on one screen: (Spec, Host, id) -> Plan. Pure; each topic knows its own steps."""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan import (
    cgroup,
    devices,
    hooks,
    lsm,
    mounts,
    names,
    namespaces,
    paths,
    process,
    refuse,
    rootfs,
    score,
    seccomp,
    sources,
    stdio,
    terminal,
)
from aisbx_runtime.oci.plan.step import PHASES, Phase, Plan
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.cgroup import CgroupPlan
    from aisbx_runtime.oci.plan.step import Step
    from aisbx_runtime.oci.spec.model import IdMapping, Process, Spec
    from aisbx_runtime.oci.systemd.instance import Instance


@record
class Options:
    """What the command line adds to config.json."""

    cache_dir: str
    cgroup_manager: str = "cgroupfs"
    no_pivot: bool = False
    no_new_keyring: bool = False
    systemd: Instance | None = None


def build(spec: Spec, host: Host, container_id: str, bundle: str, options: Options) -> Plan:
    """Return the plan of create. Raises SpecError or HostError for what cannot be done here."""
    if spec.process is None:
        raise SpecError("process: required to create a container", where="config.json")
    refuse.check(spec)
    rootfs.check(spec)
    mounts.check(spec, host)
    if rootfs.joins_mounts(spec):
        from aisbx_runtime.oci.plan import joined_mounts

        joined_mounts.check(host, no_pivot=options.no_pivot)
    devices.check(spec, host)
    cgroups = cgroup.plan(spec, host, container_id, options.cgroup_manager, options.systemd)
    # cgroup_namespaces(7): the root of a new cgroup namespace is where init is at that moment. And
    # a scope is there only with init in it.
    joins_first = namespaces.is_new(spec, "cgroup") or bool(cgroups.scope)
    first_limits = _first_limits(spec, cgroups)
    groups, join_groups = _resctrl(spec, container_id)
    steps: dict[str, list[Step]] = {
        "host": [*_host(spec, host, bundle, options, cgroups), *groups],
        "birth": [namespaces.birth(spec, host)],
        # The parent must write the id maps (user_namespaces(7)).
        "adopt": [
            *namespaces.adopt_steps(spec, host),
            *score.steps(spec.process, host),
            *stdio.steps(spec.process.user.uid, _mappings(spec)),
            *_net_devices(spec),
            *join_groups,
            *(cgroups.join if joins_first else []),
            *first_limits,
        ],
        "rootfs": _rootfs(spec, host, container_id, bundle, options, cgroups),
        # A move between v1 cgroups waits 15 ms for an RCU grace period: let init work meanwhile.
        "join": [] if joins_first else list(cgroups.join),
        # runtime.md, lifecycle 4 and 5: after the namespaces are made, before pivot_root.
        "hooks": [
            *hooks.steps("prestart", spec.hooks.prestart),
            *hooks.steps("createRuntime", spec.hooks.create_runtime),
        ],
        "pivot": [
            *hooks.steps("createContainer", spec.hooks.create_container),
            *rootfs.pivot_steps(spec, no_pivot=options.no_pivot),
        ],
        "confine": _confine(spec, spec.process),
        "process": process.steps(
            spec.process,
            spec.linux,
            host,
            filter_flags=seccomp.flags_of(spec),
            set_groups=sets_groups(spec, spec.process, host),
        ),
        # Only now, when the stub waits: memory.max would kill init, whose Python heap is larger
        # than the smallest containers, and cpu.max would slow down everything above.
        "limits": [
            *[one for one in cgroups.limits if one not in first_limits],
            *rootfs.last_steps(spec),
        ],
    }
    return Plan(
        phases=tuple([Phase(name, side, tuple(steps[name])) for name, side in PHASES]),
        cgroups=cgroups.paths,
        scope=cgroups.scope,
        warnings=tuple(process.warnings(spec.process, spec.linux, host)),
    )


def _host(spec: Spec, host: Host, bundle: str, options: Options, cgroups: CgroupPlan) -> list[Step]:
    return [
        # What may fail for a reason of the user comes first: nothing has been made yet.
        *namespaces.open_steps(spec),
        *namespaces.group_steps(spec, host),
        *([] if _takes_inside(host) else _sources(spec, host, bundle)),
        *seccomp.host_steps(spec, host, options.cache_dir),
        *cgroups.early,
    ]


def _takes_inside(host: Host) -> bool:
    # open_tree(2) needs CAP_SYS_ADMIN: without it outside, container init has it in its own user
    # and mount namespaces, where it reaches what its user reaches.
    return host.euid != 0


def _sources(spec: Spec, host: Host, bundle: str) -> list[Step]:
    # Taken by path once, by the caller's rights and in its mount namespace where that is possible.
    return [
        *rootfs.host_steps(spec, bundle),
        *[
            step
            for index in _taken_first(spec, host, bundle)
            for step in sources.steps_of(index, spec.mounts[index], spec, bundle)
        ],
        *devices.host_steps(spec, host),
    ]


def _taken_first(spec: Spec, host: Host, bundle: str) -> list[int]:
    """Return which entries of `mounts` have a source that is not taken in its turn."""
    # The root of another user namespace may not reach what the runtime's caller does, and a mount
    # namespace that is joined has other files at the same paths.
    elsewhere = namespaces.has_user_namespace(spec) or rootfs.joins_mounts(spec)
    every = elsewhere and not _takes_inside(host)
    rootfs_path = rootfs.path_of(spec, bundle)
    return [
        index
        for index, one in enumerate(spec.mounts)
        if mounts.is_bind(one) and (every or sources.is_taken_first(one, bundle, rootfs_path))
    ]


def _rootfs(
    spec: Spec,
    host: Host,
    container_id: str,
    bundle: str,
    options: Options,
    cgroups: CgroupPlan,
) -> list[Step]:
    propagation = rootfs.inherited(spec)
    mounted: list[Step] = []
    taken_first = _taken_first(spec, host, bundle)
    for index, one in enumerate(spec.mounts):
        if one.type == "cgroup" and not mounts.is_bind(one):
            from aisbx_runtime.oci.plan import cgroup_mount

            mounted.extend(cgroup_mount.steps(index, one, spec, host, cgroups))
            continue
        first = index in taken_first
        if not first:
            mounted.extend(sources.steps_of(index, one, spec, bundle))
        mounted.extend(
            mounts.steps_of(index, one, propagation=propagation, taken_long_before=first)
        )
    keyring: list[Step] = []
    if not options.no_new_keyring:
        keyring = [process.JoinKeyring(process.KEYRING + container_id, "runtime default")]
    return [
        *namespaces.init_steps(spec, host),
        # Before the container's own procfs is there, which is not to be trusted.
        *keyring,
        *([rootfs.OpenProc("runtime default")] if _needs_proc(spec) else []),
        *(_sources(spec, host, bundle) if _takes_inside(host) else []),
        *paths.prepare_steps(spec),
        *rootfs.attach_steps(spec, bundle),
        *mounted,
        *([rootfs.MakeWorkingDirectory(spec.process.cwd, "process.cwd")] if spec.process else []),
        # Devices after mounts: they belong into the tmpfs on /dev.
        *devices.init_steps(spec, host),
    ]


def _needs_proc(spec: Spec) -> bool:
    if rootfs.joins_mounts(spec):
        # It is open already: that of a namespace that is joined may be a trap.
        return False
    return bool(spec.linux.sysctl) or bool(spec.process and lsm.steps(spec.process))


def _confine(spec: Spec, process_: Process) -> list[Step]:
    return [
        # The terminal before the root or /dev is read-only: /dev/console may have to be made.
        *terminal.steps(process_, console=rootfs.has_mounts(spec)),
        *mounts.late_steps(spec),
        *rootfs.confine_steps(spec),
        # Names and sysctls before /proc/sys becomes read-only.
        *names.confine_steps(spec),
        *lsm.steps(process_),
        *paths.confine_steps(spec),
    ]


def _resctrl(spec: Spec, container_id: str) -> tuple[list[Step], list[Step]]:
    """Return what is made in resctrl, and how container init gets into it."""
    if spec.linux.intel_rdt is None:
        return [], []
    from aisbx_runtime.oci.plan import rdt

    wanted = spec.linux.intel_rdt
    return rdt.steps(wanted, container_id), rdt.join_steps(wanted, container_id)


def _net_devices(spec: Spec) -> list[Step]:
    if not spec.linux.net_devices:
        return []
    from aisbx_runtime.oci.plan import net_devices

    return net_devices.steps(spec.linux.net_devices)


def _first_limits(spec: Spec, cgroups: CgroupPlan) -> list[Step]:
    """Return the limits that what container init sets for itself depends on."""
    if spec.linux.memory_policy is None:
        return []
    from aisbx_runtime.oci.plan.memory_policy import CPUSET_ORIGIN

    return [one for one in cgroups.limits if one.origin == CPUSET_ORIGIN]


def _mappings(spec: Spec) -> tuple[IdMapping, ...] | None:
    return spec.linux.uid_mappings if namespaces.has_user_namespace(spec) else None


def sets_groups(spec: Spec, process_: Process, host: Host) -> bool:
    """Tell whether setgroups(2) is called: not where it is denied, nor to keep the caller's."""
    if spec.annotations.get(process.KEEP_GROUPS) == "1":
        return False
    if not namespaces.denies_setgroups(spec, host):
        return True
    if process_.user.additional_gids:
        raise SpecError(
            "process.user.additionalGids: groups cannot be set in this user namespace",
            where="config.json",
            hint="map more than the own id with newgidmap, or drop the additional groups",
        )
    return False
