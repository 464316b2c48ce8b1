"""The container's cgroup as a transient scope of systemd: which unit, and the steps that make it.

Pure but for the steps. Limits as properties: `scope_properties`; talking to systemd: `oci.systemd`.
systemd makes the cgroup around a living process, so that container init is not born in it; it is
moved there before it makes its cgroup namespace.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError, KernelError, SpecError, StepError
from aisbx_runtime.oci.host import read_text
from aisbx_runtime.oci.plan import cgroup, scope_properties
from aisbx_runtime.oci.plan.cgroup_make import enable_controller, refuse_used
from aisbx_runtime.oci.plan.cgroup_places import Place, below_mount
from aisbx_runtime.oci.plan.cgroup_steps import failed, hint_for, write_file
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.systemd import bus as buses
from aisbx_runtime.oci.systemd import instance as instances
from aisbx_runtime.oci.systemd import scope as scopes
from aisbx_runtime.oci.systemd.bus import WITHOUT, CallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.cgroup import CgroupPlan
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Resources, Spec
    from aisbx_runtime.oci.systemd.instance import Instance
    from aisbx_runtime.oci.systemd.scope import Property

_ORIGIN = "linux.cgroupsPath"
# crun's: the container in a cgroup below the scope's, whose own files are systemd's alone.
SUBGROUP = "run.oci.systemd.subgroup"
_PREFIX = "aisbx"
_UNIT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\")
_UNDO_S = 5.0
_UNIT_BYTES = 255  # UNIT_NAME_MAX of systemd, with the zero byte
_OURS = frozenset(
    (
        "Description", "Slice", "Delegate", "DefaultDependencies", "CPUAccounting",
        "MemoryAccounting", "IOAccounting", "TasksAccounting",
    )
)  # fmt: skip
# What systemd enables by itself when it delegates.
_DELEGATED = frozenset({"cpu", "cpuset", "io", "memory", "pids"})


@record
class Unit:
    """A scope: its name, its slice, and its cgroup as systemd and /proc/PID/cgroup call it."""

    name: str
    slice: str
    cgroup: str


# ---- names ---------------------------------------------------------------------------------------
def unit_of(cgroups_path: str | None, container_id: str, systemd: Instance) -> Unit:
    """Return the scope that `slice:prefix:name` means: `prefix-name.scope` in the slice.

    An empty path is a scope of the runtime's own naming, an empty slice system.slice, or user.slice
    of a user's systemd. Raises SpecError.
    """
    default = "user.slice" if systemd.user else "system.slice"
    if not cgroups_path:
        name = f"{_PREFIX}-{container_id}".replace("+", "\\x2b")
        return _unit(name, default, systemd)
    parts = cgroups_path.split(":")
    if len(parts) != 3 or not parts[2]:
        raise _refused(
            f'"{cgroups_path}" is not of the form slice:prefix:name, as the systemd cgroup manager'
            " needs it",
            'write such as "system.slice:aisbx:NAME", or call without --systemd-cgroup',
        )
    slice_, prefix, name = parts
    if name.endswith(".slice"):
        raise _refused(f'"{name}" is a slice, which holds units and no processes', "drop .slice")
    return _unit(f"{prefix}-{name}" if prefix else name, slice_ or default, systemd)


def _unit(stem: str, slice_: str, systemd: Instance) -> Unit:
    name = stem if stem.endswith(".scope") else f"{stem}.scope"
    if not _UNIT.issuperset(name) or len(name) > _UNIT_BYTES:
        raise _refused(
            f'"{name}" is no name of a unit',
            "use letters, digits and :-_.\\, at most 255 of them (see systemd-escape(1))",
        )
    return Unit(name, slice_, f"{systemd.cgroup}{expanded(slice_)}/{name}")


def expanded(slice_: str) -> str:
    """Return the cgroup of a slice below that of its systemd: a-b.slice is in a.slice.

    Raises SpecError. See systemd.slice(5); "-.slice" is the root.
    """
    if slice_ == "-.slice":
        return ""
    stem = slice_.removesuffix(".slice")
    parts = stem.split("-")
    if stem == slice_ or not all(parts) or not _UNIT.issuperset(stem):
        raise _refused(
            f'"{slice_}" is no name of a slice',
            'write such as "system.slice", or "a-b.slice" for one within a.slice',
        )
    return "".join([f"/{'-'.join(parts[:count])}.slice" for count in range(1, len(parts) + 1)])


def _refused(what: str, hint: str) -> SpecError:
    return SpecError(f"linux.cgroupsPath: {what}", where="config.json", hint=hint)


# ---- the plan ------------------------------------------------------------------------------------
def plan(spec: Spec, host: Host, container_id: str, systemd: Instance | None) -> CgroupPlan:
    """Return how the container gets its scope. Raises Failure for limits that cannot be had."""
    if systemd is None:
        raise HostError(f"there is no systemd for the systemd cgroup manager ({WITHOUT})")
    unit = unit_of(spec.linux.cgroups_path, container_id, systemd)
    hierarchy = host.hierarchies[0]
    scope_path = below_mount(hierarchy, unit.cgroup)
    below = subgroup_of(spec)
    path = f"{scope_path}/{below}" if below else scope_path
    places = (Place(2, hierarchy.available, hierarchy.mount_point, path),)
    # Limits hold or create fails, for a user too: the user's systemd was given controllers or not.
    # Only a device filter is for those who may load one.
    optional = cgroup.is_optional(host)
    resources = spec.linux.resources
    zero_is_a_limit = cgroup.minor_version(spec.oci_version) >= (1, 3)
    wanted = cgroup.settings(resources, places, zero_is_a_limit=zero_is_a_limit)
    used = cgroup.enforceable(wanted, places, optional=False)
    needed = [one for one in hierarchy.available if one in cgroup.limited(used, resources)]
    properties = _properties(unit, spec, container_id)
    join: list[Step] = [
        StartScope(_ORIGIN, unit.name, systemd.address, unit.cgroup, scope_path, properties)
    ]
    if below:
        join.append(EnterSubgroup(f'annotations["{SUBGROUP}"]', path))
    if needed:
        top = below_mount(hierarchy, systemd.cgroup) or hierarchy.mount_point
        join.append(EnableControllers("linux.resources", top, path, tuple(needed)))
    join += cgroup.delegate_steps(spec, places, optional=optional)
    limits: list[Step] = [
        *_property_steps(resources, unit.name, systemd.address, zero_is_a_limit=zero_is_a_limit),
        # After the properties: what systemd has no words for it would overwrite.
        *cgroup.limit_steps(resources, used, places, optional=False),
        *cgroup.device_steps(spec.linux, places, optional=optional, beside_others=True),
    ]
    return cgroup.CgroupPlan(
        join=tuple(join),
        limits=tuple(limits),
        paths=(path,),
        scope=f"{unit.name} {systemd.address}",
    )


def subgroup_of(spec: Spec) -> str:
    """Return the name of the cgroup below the scope's, "" for none. Raises SpecError."""
    name = spec.annotations.get(SUBGROUP, "")
    if "/" in name or name.startswith(".") or "\n" in name:
        raise SpecError(
            f'annotations["{SUBGROUP}"]: "{name}" is not the name of a cgroup',
            where="config.json",
            hint='write one name, such as "container"',
        )
    return name


def _properties(unit: Unit, spec: Spec, container_id: str) -> tuple[Property, ...]:
    ours: list[Property] = [
        ("Description", "s", f"aisbx-runtime container {container_id}"),
        ("Slice", "s", unit.slice),
        ("Delegate", "b", True),
        ("DefaultDependencies", "b", False),
        # As crun: a scope that failed goes too, so that none is left when nobody deletes it.
        ("CollectMode", "s", "inactive-or-failed"),
        *[(f"{name}Accounting", "b", True) for name in ("CPU", "Memory", "IO", "Tasks")],
    ]
    asked = scope_properties.of_annotations(spec.annotations)
    names = {name for name, _, _ in asked}
    return (*[one for one in ours if one[0] not in names], *asked)


def _property_steps(
    resources: Resources | None, unit: str, address: str, *, zero_is_a_limit: bool
) -> list[Step]:
    found = scope_properties.of_resources(resources, zero_is_a_limit=zero_is_a_limit)
    return [SetProperties("linux.resources", unit, address, found)] if found else []


def update(
    resources: Resources, files: tuple[Step, ...], scope: str, oci_version: str
) -> tuple[Step, ...]:
    """Return the steps of an update: the files, the properties, and the files once more.

    First the files, which refuse what cannot be and are undone then; at the end again, since
    systemd writes its own words for some.
    """
    unit, _, address = scope.partition(" ")
    zero_is_a_limit = cgroup.minor_version(oci_version) >= (1, 3)
    middle = _property_steps(resources, unit, address, zero_is_a_limit=zero_is_a_limit)
    again = [one for one in files if hasattr(one, "directory")] if middle else []
    return (*files, *middle, *again)


# ---- steps ---------------------------------------------------------------------------------------
@record
class StartScope:
    """Let systemd make the scope with container init in it, and wait until it has."""

    origin: str
    unit: str
    address: str
    cgroup: str
    path: str
    properties: tuple[Property, ...]

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"start scope {self.unit} at {self.cgroup} with container init in it"

    def apply(self, at: World) -> None:
        """Start it. Raises StepError for a name that is in use, HostError without an answer."""
        # Before it is noted as ours: what is there already is somebody's.
        refuse_used(self.path, self.origin)
        at.own("scope", f"{self.unit} {self.address}")
        properties: tuple[Property, ...] = (*self.properties, ("PIDs", "au", (at.pid,)))
        try:
            with _connected(self.address) as bus:
                scopes.start(bus, self.unit, properties)
        except CallError as error:
            if error.name == scopes.UNIT_EXISTS:
                raise StepError(
                    f"there is a unit {self.unit} already",
                    where=self.origin,
                    why=error.why(),
                    hint="let linux.cgroupsPath name another, or end it: systemctl stop "
                    f"{self.unit}",
                ) from None
            raise scopes.cannot(
                f"cannot start {self.unit}{self._asked()}", error, self.origin
            ) from None
        found = _cgroup_of(at.pid)
        if found != self.cgroup:
            raise StepError(
                f"container init is in cgroup {found or '/'}, not in {self.cgroup}",
                where=self.origin,
                hint=f"see `systemctl status {self.unit}`",
            )
        # Only now: from here on delete kills what is in there.
        at.own("cgroup", self.path)

    def _asked(self) -> str:
        # systemd does not say which property has a value of another type.
        names = [name for name, _, _ in self.properties if name not in _OURS]
        return f" with {', '.join(names)} of the annotations" if names else ""


@record
class EnterSubgroup:
    """Make a cgroup below the scope's, and move container init into it."""

    origin: str
    path: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"make cgroup {self.path} and move container init into it"

    def apply(self, at: World) -> None:
        """Make it; it was delegated with the scope."""
        at.own("cgroup", self.path)
        try:
            os.mkdir(self.path, 0o755)
            write_file(f"{self.path}/cgroup.procs", str(at.pid))
            # cgroups(7), "no internal processes": only now, when the scope itself has none.
            scope = os.path.dirname(self.path)
            for name in read_text(f"{scope}/cgroup.controllers").split():
                write_file(f"{scope}/cgroup.subtree_control", f"+{name}")
        except OSError as error:
            raise StepError(
                f"cannot make cgroup {self.path}",
                where=self.origin,
                why=errno.errorcode.get(error.errno or 0, ""),
            ) from None


@record
class EnableControllers:
    """Enable controllers from the cgroup of systemd down to the container's.

    Those that systemd delegates are there; it knows no others (hugetlb, rdma, misc).
    """

    origin: str
    top: str
    path: str
    controllers: tuple[str, ...]

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"enable {' '.join(self.controllers)} for cgroup {self.path}"

    def apply(self, at: World) -> None:
        """Enable what is not. Raises StepError that names the controller."""
        del at
        there = read_text(f"{self.path}/cgroup.controllers").split()
        for name in self.controllers:
            if name in there:
                continue
            try:
                enable_controller(self.top, self.path, name)
            except KernelError as error:
                raise failed(
                    f'the "{name}" controller is not delegated to cgroup {self.path}',
                    self.origin,
                    error,
                    hint=_NOT_DELEGATED if name in _DELEGATED else hint_for("", error),
                ) from None


_NOT_DELEGATED = (
    "let systemd give it to users (Delegate=cpu cpuset io memory pids in "
    "/etc/systemd/system/user@.service.d/delegate.conf), or drop the limit"
)


@record
class SetProperties:
    """Tell systemd the limits of the scope, so that it shows them and keeps to them."""

    origin: str
    unit: str
    address: str
    properties: tuple[Property, ...]

    def describe(self) -> str:
        """Return one line, in the imperative."""
        words = [f"{name}={_shown(value)}" for name, _, value in self.properties]
        return f"set {' '.join(words)} of {self.unit}"

    def apply(self, at: World) -> None:
        """Set them until the scope ends."""
        del at
        try:
            with _connected(self.address) as bus:
                scopes.set_properties(bus, self.unit, self.properties)
        except CallError as error:
            what = f"systemd refuses the limits of {self.unit}"
            raise scopes.cannot(what, error, self.origin) from None


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f"0x{int.from_bytes(value, 'little'):x}"
    return "infinity" if value == scope_properties.INFINITY else str(value)


# ---- the end -------------------------------------------------------------------------------------
def stop(scope: str, path: str, *, started: bool) -> None:
    """Let the scope of a container be gone, whose processes are dead. Raises HostError.

    `started` tells that create has seen it start. Else its name may be that of another's, and only
    what is empty is stopped.
    """
    if not started and _is_populated(path):
        return
    unit, _, address = scope.partition(" ")
    try:
        # One that does not answer has just been waited for.
        with _connected(address, buses.TIMEOUT_S if started else _UNDO_S) as bus:
            scopes.stop(bus, unit)
    except CallError as error:
        raise scopes.cannot(f"cannot stop {unit}", error, path) from None


def _is_populated(path: str) -> bool:
    try:
        return "populated 1" in read_text(f"{path}/cgroup.events")
    except OSError:
        return False


def _connected(address: str, timeout_s: float = buses.TIMEOUT_S) -> buses.Bus:
    return instances.connect((address,), timeout_s=timeout_s)


def _cgroup_of(pid: int) -> str:
    for line in read_text(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return ""
