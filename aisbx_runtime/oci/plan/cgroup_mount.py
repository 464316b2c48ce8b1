"""A mount of type `cgroup`: what a container sees in /sys/fs/cgroup. Other mounts: `mounts`.

On cgroup v2 it is that file system. On v1 and hybrid hosts it is a tmpfs with a directory for each
hierarchy, as the host has it. A container that has a cgroup namespace sees its own cgroup as the
root of each; without one, v1 hierarchies are binds of its own cgroup.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, SpecError, kernel_error
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.mount import AT_FDCWD, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE
from aisbx_runtime.oci.kernel.path import open_in_root
from aisbx_runtime.oci.plan import cgroup_places, namespaces
from aisbx_runtime.oci.plan.mounts import BindMount, FileSystemMount, MakeMountReadOnly
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.mount_options import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Hierarchy, Host
    from aisbx_runtime.oci.plan.cgroup import CgroupPlan
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Mount, Spec


@record
class TakeCgroup:
    """Take a detached copy of the container's cgroup directory.

    `own_path` is the runtime's, which is the container's too when rootless makes none.
    """

    path: str
    own_path: str
    key: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"take cgroup {self.path}"

    def apply(self, at: World) -> None:
        """Clone it, not what is mounted below."""
        path = self.path if os.path.isdir(self.path) else self.own_path
        at.trees[self.key] = mount.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)


@record
class MountCgroup2:
    """Mount cgroup v2, or bind the container's cgroup where a new mount is not permitted."""

    fresh: FileSystemMount
    take: TakeCgroup
    bind: BindMount
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"{self.fresh.describe()}, or a bind of {self.take.path}"

    def apply(self, at: World) -> None:
        """Mount it; see cgroups(7)."""
        try:
            self.fresh.apply(at)
        except KernelError as error:
            # A user namespace that does not own the cgroup namespace may not mount it: EPERM.
            if error.errno != errno.EPERM:
                raise
            self.take.apply(at)
            self.bind.apply(at)


@record
class LinkController:
    """Let a controller be found by its name when it shares a hierarchy with others."""

    target: str
    name: str
    directory: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"link {self.target}/{self.name} to {self.directory}"

    def apply(self, at: World) -> None:
        """Make the symlink in the tmpfs, which is ours alone yet."""
        dir_fd = open_in_root(at.root_fd, self.target, os.O_PATH | os.O_DIRECTORY)
        try:
            os.symlink(self.directory, self.name, dir_fd=dir_fd)
        except OSError as error:
            path = f"{self.target}/{self.name}"
            raise kernel_error(error.errno or 0, "symlinkat", path) from None
        finally:
            os.close(dir_fd)


def steps(index: int, one: Mount, spec: Spec, host: Host, cgroups: CgroupPlan) -> list[Step]:
    """Return how container init mounts the entry, when its cgroup namespace is there already."""
    if host.unified:
        return [_mount_v2(one, host.hierarchies[0], cgroups, one.destination, f"mounts[{index}]")]
    options = resolve(one.options)
    if options.data:
        raise SpecError(
            f'mounts[{index}].options: "{options.data[0][0]}" is no option of a cgroup mount',
            where="config.json",
            hint="remove it",
        )
    origin = f"mounts[{index}]"
    target = one.destination.rstrip("/")
    # Written to until the directories are there.
    words = tuple([word for word in one.options if word not in {"ro", "rro"}])
    found: list[Step] = [
        FileSystemMount("tmpfs", "tmpfs", target, resolve((*words, "mode=755")), origin)
    ]
    private = namespaces.is_private(spec, "cgroup")
    for hierarchy in host.hierarchies:
        found += _mount_one(one, hierarchy, cgroups, target, origin, private=private)
    if (options.attr_set | options.rec_attr_set) & MOUNT_ATTR_RDONLY:
        found.append(MakeMountReadOnly(target, origin))
    return found


def sources(one: Mount, spec: Spec, host: Host, cgroups: CgroupPlan) -> list[tuple[str, str]]:
    """Return (path in the container, the cgroup on the host) of all that `steps` mounts."""
    target = one.destination.rstrip("/")
    if host.unified and not namespaces.is_private(spec, "cgroup"):
        # A new mount of cgroup2 shows the root of the cgroup namespace that it is made in.
        return [(target, host.hierarchies[0].mount_point)]
    found: list[tuple[str, str]] = []
    for hierarchy in host.hierarchies:
        name = "" if host.unified else f"/{os.path.basename(hierarchy.mount_point)}"
        take, _ = _bind(one, hierarchy, cgroups, f"{target}{name}", "", "")
        found.append((f"{target}{name}", take.path))
    return found


def _mount_one(
    one: Mount,
    hierarchy: Hierarchy,
    cgroups: CgroupPlan,
    target: str,
    origin: str,
    *,
    private: bool,
) -> list[Step]:
    directory = os.path.basename(hierarchy.mount_point)
    below = f"{target}/{directory}"
    if not private:
        return [
            *_bind(one, hierarchy, cgroups, below, f"{origin} {directory}", origin),
            *_links(hierarchy, target, directory, origin),
        ]
    if hierarchy.version == 2:
        return [_mount_v2(one, hierarchy, cgroups, below, origin)]
    # cgroups(7): a hierarchy is named by all its controllers, or by "none" and its name.
    names = hierarchy.controllers
    words = ("none", *names) if names[0].startswith("name=") else names
    options = resolve((*one.options, *words))
    return [
        FileSystemMount("cgroup", "cgroup", below, options, origin),
        *_links(hierarchy, target, directory, origin),
    ]


def _mount_v2(
    one: Mount, hierarchy: Hierarchy, cgroups: CgroupPlan, target: str, origin: str
) -> Step:
    fresh = FileSystemMount("cgroup2", "cgroup", target, resolve(one.options), origin)
    take, bind = _bind(one, hierarchy, cgroups, target, f"{origin} cgroup2", origin)
    return MountCgroup2(fresh, take, bind, origin)


def _bind(
    one: Mount, hierarchy: Hierarchy, cgroups: CgroupPlan, target: str, key: str, origin: str
) -> tuple[TakeCgroup, BindMount]:
    own = cgroup_places.own_directory(hierarchy)
    path = next((path for path in cgroups.paths if _is_below(path, hierarchy)), own)
    return (
        TakeCgroup(path, own, key, origin),
        BindMount(path, target, resolve(one.options), mount.MS_PRIVATE, key, origin),
    )


def _is_below(path: str, hierarchy: Hierarchy) -> bool:
    return path.startswith(f"{hierarchy.mount_point.rstrip('/')}/")


def _links(hierarchy: Hierarchy, target: str, directory: str, origin: str) -> list[Step]:
    return [
        LinkController(target, name, directory, origin)
        for name in hierarchy.controllers
        if len(hierarchy.controllers) > 1 and name != directory
    ]
