"""Where exec puts its process when that is not the cgroup of the container as a whole."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.host import read_text
from aisbx_runtime.oci.plan.cgroup_places import own_directory, place_at
from aisbx_runtime.oci.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host


def below(words: list[str], paths: tuple[str, ...], host: Host) -> tuple[str, ...]:
    """Return the cgroups that `--cgroup [CONTROLLER,...:]PATH` names below the container's.

    Raises UsageError: they must be there, and only v1 has one for each controller.
    """
    wanted = _parsed(words)
    unknown = set(wanted) - {""}
    found: list[str] = []
    for path in paths:
        place = place_at(path, host)
        names = [n for n in place.controllers if n in wanted] if place.version == 1 else []
        unknown.difference_update(names)
        inside = wanted[names[0]] if names else wanted.get("", "")
        found.append(f"{path}/{inside}" if inside else path)
        if place.version == 2 and len(paths) > 1 and not os.path.isdir(found[-1]):
            # Beside v1 it holds no limit worth a cgroup of one's own: who made those of v1 below
            # the container's need not have made this one.
            found[-1] = path
        if not os.path.isdir(found[-1]):
            raise UsageError(f"--cgroup: there is no cgroup {found[-1]}", hint="make it first")
    if unknown:
        raise UsageError(
            f"--cgroup {min(unknown)}: the container has no cgroup v1 of this controller",
            hint="name the path alone",
        )
    return tuple(found)


def _parsed(words: list[str]) -> dict[str, str]:
    """Return controller -> path below the container's cgroup, "" for all controllers."""
    wanted: dict[str, str] = {}
    for word in words:
        names, colon, path = word.rpartition(":")
        if not colon and len(words) > 1:
            raise UsageError(f"--cgroup {word}: with others, each must name its controllers")
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise UsageError(f'--cgroup {word}: has a ".." in it', hint="write it without")
        for name in names.split(","):
            if name in wanted:
                raise UsageError(f"--cgroup {word}: controller {name} is named twice")
            wanted[name] = "/".join(parts)
    return wanted


def beside_init(paths: tuple[str, ...], pid: int, host: Host) -> tuple[str, ...]:
    """Return `paths`, the one of v2 exchanged for the cgroup that container init is in now.

    cgroups(7), "no internal processes": once systemd in the container has given controllers to
    its children, a process can only be added below. runc falls back to the same place.
    """
    line = next(
        (one for one in read_text(f"/proc/{pid}/cgroup").splitlines() if one.startswith("0::")), ""
    )
    unified = next((one for one in host.hierarchies if one.version == 2), None)
    if unified is None or not line:
        return paths
    directory = own_directory(replace(unified, own_path=line.removeprefix("0::")))
    return tuple([directory if directory.startswith(f"{one}/") else one for one in paths])
