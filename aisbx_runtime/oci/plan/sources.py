"""Sources of bind mounts: how they are taken, and which before any mount is made.

How they are attached lives in `mounts`.
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.mount import (
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    OPEN_TREE_CLONE,
)
from aisbx_runtime.oci.plan.mounts import is_bind, maps_ids
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.mount_options import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Mount, Spec

# What these lead to depends on who looks: /proc/self/fd/3 is a file of the runtime's mount
# namespace.
_OF_A_PROCESS = ("/proc/", "/dev/fd/", "/dev/std")


@record
class OpenSource:
    """Take a detached copy of a bind mount's source, with the rights of the runtime's caller."""

    source: str
    recursive: bool
    key: str
    origin: str
    nofollow: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        what = f"the symlink {self.source} itself" if self.nofollow else self.source
        return f"take {what}{' with all below it' if self.recursive else ''}"

    def apply(self, at: World) -> None:
        """Clone it; the fd is inherited by container init."""
        flags = OPEN_TREE_CLONE | (AT_RECURSIVE if self.recursive else 0)
        flags |= AT_SYMLINK_NOFOLLOW if self.nofollow else 0
        at.trees[self.key] = mount.open_tree(AT_FDCWD, self.source, flags)


def steps(spec: Spec, bundle: str) -> list[Step]:
    """Return how the sources of all bind mounts are taken, before any of them is attached."""
    return [
        step for index, one in enumerate(spec.mounts) for step in steps_of(index, one, spec, bundle)
    ]


def steps_of(index: int, one: Mount, spec: Spec, bundle: str) -> list[Step]:
    """Return how the source of an entry is taken, which is nothing for all but bind mounts."""
    options = resolve(one.options)
    if not is_bind(one) or options.remount:
        return []
    key = f"mounts[{index}]"
    source = _path_of(one, bundle)
    nofollow = options.src_nofollow
    taken = OpenSource(source, options.recursive_bind, key, f"{key}.source", nofollow)
    found: list[Step] = [taken]
    if options.copy_symlink:
        from aisbx_runtime.oci.plan.symlink import ReadSymlink

        found = [ReadSymlink(taken)]
    if maps_ids(one, options):
        from aisbx_runtime.oci.plan import idmap

        found.append(idmap.step_of(key, one, options, source, spec.linux))
    return found


def is_taken_first(one: Mount, bundle: str, rootfs: str) -> bool:
    """Tell whether a source has to be taken before container init makes any mount.

    All others are taken in their turn: since Linux 6.8 mountinfo is in the order in which mounts
    were made, a copy is made when it is taken, and programs such as OCI's runtimetest expect the
    order of the list. `rootfs` is the host path of the root.
    """
    options = resolve(one.options)
    if options.propagation == mount.MS_SHARED or maps_ids(one, options):
        # All that container init inherits has been parted from its peers. And the namespace for a
        # mapping is lent by a child, whose pid init does not know.
        return True
    source = _path_of(one, bundle)
    if source.startswith(_OF_A_PROCESS):
        return True
    # The root is attached there meanwhile, with all that was mounted on it.
    return _is_at_or_below(source, rootfs) or _is_at_or_below(rootfs, source)


def _is_at_or_below(path: str, top: str) -> bool:
    return f"{path}/".startswith(f"{top.rstrip('/')}/")


def _path_of(one: Mount, bundle: str) -> str:
    return os.path.normpath(os.path.join(bundle, one.source))
