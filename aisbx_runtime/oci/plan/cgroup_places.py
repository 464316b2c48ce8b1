"""Which directory of each cgroup hierarchy is the container's. What is done with it: `cgroup`."""

from __future__ import annotations

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Hierarchy, Host


@record
class Place:
    """The container's cgroup in one hierarchy."""

    version: int
    controllers: tuple[str, ...]
    mount_point: str
    path: str


def places_of(cgroups_path: str | None, host: Host, container_id: str) -> tuple[Place, ...]:
    wanted = _clean(cgroups_path or "")
    places = [
        Place(
            one.version,
            one.controllers if one.version == 1 else one.available,
            one.mount_point,
            _directory(one, wanted, container_id, host),
        )
        for one in host.hierarchies
    ]
    return tuple(sorted(places, key=_freezes_first))


def _freezes_first(place: Place) -> int:
    if place.version == 2:
        return 0
    return 1 if "freezer" in place.controllers else 2


def _clean(path: str) -> str:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise SpecError(
            f'linux.cgroupsPath: "{path}" has a ".." in it',
            where="config.json",
            hint="write the path without it",
        )
    if path and not parts:
        raise SpecError(
            f'linux.cgroupsPath: "{path}" is the root of the hierarchy, not a cgroup of its own',
            where="config.json",
            hint="name a cgroup, or leave cgroupsPath out",
        )
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def _directory(one: Hierarchy, wanted: str, container_id: str, host: Host) -> str:
    if wanted.startswith("/"):
        return _below(one.mount_point, _relative_to_root(wanted, one.root))
    own = _relative_to_root(one.own_path, one.root)
    if host.unified:
        # The runtime's own cgroup has processes, so that controllers cannot be enabled for its
        # children (cgroups(7), "no internal processes"). runc takes the parent too.
        own = own.rpartition("/")[0]
    return _below(one.mount_point, f"{own}/{wanted or container_id}")


def own_directory(one: Hierarchy) -> str:
    """Return the directory of the cgroup that the runtime itself is in."""
    return _below(one.mount_point, _relative_to_root(one.own_path, one.root)).rstrip("/")


def below_mount(one: Hierarchy, path: str) -> str:
    """Return the directory of a cgroup that is named as in /proc/PID/cgroup."""
    return _below(one.mount_point, _relative_to_root(path, one.root)).rstrip("/")


def _relative_to_root(path: str, root: str) -> str:
    # mountinfo's root is what the mount point shows; in a container it may be a cgroup below "/".
    if ".." in path.split("/"):
        # cgroup_namespaces(7): the runtime is outside of what it sees; only the top is left.
        return ""
    inside = path == root or path.startswith(root.rstrip("/") + "/")
    return path.removeprefix(root.rstrip("/")) if inside else path


def _below(mount_point: str, path: str) -> str:
    return f"{mount_point.rstrip('/')}/{path.strip('/')}"


def place_at(path: str, host: Host) -> Place:
    best: Hierarchy | None = None
    for one in host.hierarchies:
        if path.startswith(one.mount_point.rstrip("/") + "/") and (
            best is None or len(one.mount_point) > len(best.mount_point)
        ):
            best = one
    if best is None:
        raise HostError(
            f"the container's cgroup {path} is below no cgroup mount",
            hint="mount the cgroup file systems where they were when the container was made",
        )
    controllers = best.controllers if best.version == 1 else best.available
    return Place(best.version, controllers, best.mount_point, path)


def place_of(controller: str, places: tuple[Place, ...]) -> Place | None:
    for one in places:
        if controller in one.controllers:
            return one
    return None


def unified_path(places: tuple[Place, ...]) -> str:
    for one in places:
        if one.version == 2:
            return one.path
    return ""
