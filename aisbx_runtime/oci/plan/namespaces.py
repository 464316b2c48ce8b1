"""Namespaces and id mappings: which are new, which are joined by path, and their first settings."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError, SpecError, kernel_error
from aisbx_runtime.oci.kernel import namespaces as kernel_namespaces
from aisbx_runtime.oci.kernel import network
from aisbx_runtime.oci.kernel.path import write_once
from aisbx_runtime.oci.plan.step import Birth
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import IdMapping, Spec


@record
class OpenNamespace:
    """Open a namespace file before anything is unshared: its path is one of the caller's."""

    type: str
    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"open the {self.type} namespace {self.path}"

    def apply(self, at: World) -> None:
        """Open it; the fd is inherited by container init."""
        try:
            at.namespace_fds[self.type] = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise kernel_error(error.errno or 0, "open", self.path) from None


@record
class LeaveGroups:
    """Leave the groups of the runtime, before a user namespace is joined that may keep them."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "leave the groups of the runtime"

    def apply(self, at: World) -> None:
        """See setgroups(2)."""
        del at
        os.setgroups(())


@record
class WriteIdMap:
    """Write uid_map or gid_map of the new user namespace, from its parent (user_namespaces(7))."""

    kind: str
    mappings: tuple[IdMapping, ...]
    direct: bool
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        how = "" if self.direct else f" with new{self.kind}map"
        ranges = ", ".join(
            [f"{one.container_id} -> {one.host_id} x {one.size}" for one in self.mappings]
        )
        return f"map {self.kind}s{how}: {ranges}"

    def apply(self, at: World) -> None:
        """Write it in one write(2), as the kernel demands, or let newuidmap do it."""
        if self.direct:
            lines = [f"{one.container_id} {one.host_id} {one.size}\n" for one in self.mappings]
            write_proc(at.pid, f"{self.kind}_map", "".join(lines))
            return
        numbers = [
            str(number)
            for one in self.mappings
            for number in (one.container_id, one.host_id, one.size)
        ]
        _run_setuid_helper(f"new{self.kind}map", [str(at.pid), *numbers])


@record
class DenySetgroups:
    """Give up setgroups(2), as user_namespaces(7) demands of an unprivileged gid map."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "deny setgroups in the user namespace"

    def apply(self, at: World) -> None:
        """Write `deny`."""
        write_proc(at.pid, "setgroups", "deny")


@record
class BecomeContainerRoot:
    """Become uid 0 of the user namespace, so that what is made belongs to its root."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "become uid 0, gid 0 of the user namespace"

    def apply(self, at: World) -> None:
        """Switch; all capabilities in the namespace are kept."""
        del at
        try:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        except OSError as error:
            # The namespace has no uid 0 (user_namespaces(7)): then what is made is nobody's.
            if error.errno != errno.EINVAL:
                raise


@record
class JoinNamespaces:
    """Join the namespaces that were opened by path; the pid namespace was joined by birth."""

    types: tuple[str, ...]
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"join the {', '.join(self.types)} namespace{'s' if len(self.types) > 1 else ''}"

    def apply(self, at: World) -> None:
        """See setns(2)."""
        for kind in self.types:
            flag = kernel_namespaces.TYPES[kind][0]
            kernel_namespaces.setns(at.namespace_fds[kind], flag, path=kind)


@record
class NewCgroupNamespace:
    """Make the container's cgroup the root it sees; only now, when init is in that cgroup."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "make the cgroup the root of a new cgroup namespace"

    def apply(self, at: World) -> None:
        """Unshare. See cgroup_namespaces(7)."""
        del at
        kernel_namespaces.unshare(kernel_namespaces.CLONE_NEWCGROUP)


@record
class NewIpcNamespace:
    """Make the ipc namespace as root of the new user namespace, to whom its queues then belong."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "make a new ipc namespace"

    def apply(self, at: World) -> None:
        """Unshare. See ipc_namespaces(7)."""
        del at
        kernel_namespaces.unshare(kernel_namespaces.TYPES["ipc"][0])


@record
class BringUpLoopback:
    """Bring up `lo` of a new network namespace, which starts down."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "bring up the loopback interface"

    def apply(self, at: World) -> None:
        """Set IFF_UP."""
        del at
        network.bring_up("lo")


def birth(spec: Spec, host: Host) -> Birth:
    """Return how container init is born.

    What the runtime enters for its children it must leave again, for its hooks: without rights
    over its own namespaces (podman's user namespace) it cannot, and an intermediate enters them.
    """
    if spec.linux.time_offsets and host.euid != 0 and is_new(spec, "user"):
        # time_namespaces(7): before the first process is in there, but that is in the user
        # namespace already, whose maps are written from outside.
        raise SpecError(
            "linux.timeOffsets: a plain user cannot set them",
            where="config.json",
            hint="call this as root of a user namespace (podman unshare), or drop them",
        )
    joins = tuple([one.type for one in spec.linux.namespaces if one.path])
    new = tuple([one.type for one in spec.linux.namespaces if not one.path])
    return Birth(
        new=new,
        joins=joins,
        intermediate=(bool(joins) and has_user_namespace(spec))
        or (host.user_namespace and ("pid" in joins or bool(spec.linux.time_offsets))),
        time_offsets=tuple(
            [(clock, one.secs, one.nanosecs) for clock, one in spec.linux.time_offsets.items()]
        ),
    )


def has_user_namespace(spec: Spec) -> bool:
    """Tell whether the container has a user namespace of its own, new or joined."""
    return any(one.type == "user" for one in spec.linux.namespaces)


def is_new(spec: Spec, kind: str) -> bool:
    """Tell whether the container gets a new namespace of this type."""
    return any(one.type == kind and not one.path for one in spec.linux.namespaces)


def is_private(spec: Spec, kind: str) -> bool:
    """Tell whether the container has a namespace of this type, new or by path."""
    return any(one.type == kind for one in spec.linux.namespaces)


def open_steps(spec: Spec) -> list[Step]:
    """Return the host steps: the files of namespaces that are joined."""
    return [
        OpenNamespace(one.type, one.path, f"linux.namespaces[{index}].path")
        for index, one in enumerate(spec.linux.namespaces)
        if one.path
    ]


def group_steps(spec: Spec, host: Host) -> list[Step]:
    """Return the host step that no group of root's gets into a namespace that denies setgroups(2).

    Whether it does shows only inside (user_namespaces(7)), where it is too late. Root needs no
    group for what it does; a plain user could not leave its own.
    """
    if host.euid != 0 or host.user_namespace:
        return []
    return [
        LeaveGroups(f"linux.namespaces[{index}].path")
        for index, one in enumerate(spec.linux.namespaces)
        if one.type == "user" and one.path
    ]


def outside(number: int, mappings: tuple[IdMapping, ...]) -> int:
    """Return what a uid or gid of the container is for the runtime, -1 when nothing."""
    for one in mappings:
        if one.container_id <= number < one.container_id + one.size:
            return one.host_id + number - one.container_id
    return -1


def adopt_steps(spec: Spec, host: Host) -> list[Step]:
    """Return what the runtime does for a child in a new user namespace."""
    if not is_new(spec, "user"):
        return []
    uid_map, gid_map = spec.linux.uid_mappings, spec.linux.gid_mappings
    privileged = host.euid == 0
    steps: list[Step] = []
    if denies_setgroups(spec, host):
        steps.append(DenySetgroups("linux.gidMappings"))
    direct_uid = privileged or _is_own_id(uid_map, host.euid)
    direct_gid = privileged or _is_own_id(gid_map, host.egid)
    if uid_map:
        steps.append(WriteIdMap("uid", uid_map, direct_uid, "linux.uidMappings"))
    if gid_map:
        steps.append(WriteIdMap("gid", gid_map, direct_gid, "linux.gidMappings"))
    return steps


def denies_setgroups(spec: Spec, host: Host) -> bool:
    """Tell whether setgroups(2) is not to be had in the container's user namespace."""
    if not host.may_setgroups:
        # user_namespaces(7): a namespace inherits the denial of its parent, for good.
        return True
    if not is_new(spec, "user"):
        return False
    return host.euid != 0 and _is_own_id(spec.linux.gid_mappings, host.egid)


def _is_own_id(mappings: tuple[IdMapping, ...], own: int) -> bool:
    # user_namespaces(7): without privilege only the own id may be mapped, and only as one line.
    return len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host_id == own


def init_steps(spec: Spec, host: Host) -> list[Step]:
    """Return what container init does first in its namespaces."""
    steps: list[Step] = []
    born = birth(spec, host)
    joins = tuple([kind for kind in born.joins if kind != "pid"])
    if joins and not born.intermediate:
        steps.append(JoinNamespaces(joins, "linux.namespaces"))
    if has_user_namespace(spec):
        steps.append(BecomeContainerRoot("linux.uidMappings"))
    if is_new(spec, "user") and is_new(spec, "ipc"):
        steps.append(NewIpcNamespace(_origin(spec, "ipc")))
    if is_new(spec, "cgroup"):
        steps.append(NewCgroupNamespace(_origin(spec, "cgroup")))
    if is_new(spec, "network"):
        steps.append(BringUpLoopback(_origin(spec, "network")))
    return steps


def _origin(spec: Spec, kind: str) -> str:
    for index, one in enumerate(spec.linux.namespaces):
        if one.type == kind:
            return f"linux.namespaces[{index}]"
    return "linux.namespaces"


def write_proc(pid: int, name: str, text: str) -> None:
    """Write one of the files in /proc/PID in one write(2). Raises KernelError named after it."""
    write_once(f"/proc/{pid}/{name}", text, name)


def _run_setuid_helper(name: str, args: list[str]) -> None:
    import subprocess

    # podman calls some verbs without PATH; setuid helpers live in the system's directories.
    path = os.environment("PATH") or "/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        done = subprocess.run(
            [name, *args], env={"PATH": path}, capture_output=True, check=False, timeout=60
        )
    except FileNotFoundError:
        raise HostError(
            f"cannot run {name}, which an id mapping of more than the own id needs",
            hint="install it: apt-get install uidmap",
        ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise HostError(
            f"{name} refuses the id mapping",
            why=said[-1] if said else f"exit {done.returncode}",
            hint="add the range to /etc/subuid and /etc/subgid",
        )
