"""What of a container lies outside of it: criu must be told, and finds it again by a name.

At a checkpoint: which mounts, files and namespaces those are. At a restore: where each is now. The
names are what runc gives them, so that images can go from one runtime to the other.
"""

from __future__ import annotations

import errno
import stat

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.host import read_text
from aisbx_runtime.oci.kernel.path import open_in_root
from aisbx_runtime.oci.mountinfo import mount_id, mount_id_of, mounts_of
from aisbx_runtime.oci.plan import cgroup_mount
from aisbx_runtime.oci.plan.mounts import is_bind
from aisbx_runtime.oci.spec.mount_options import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.cgroup import CgroupPlan
    from aisbx_runtime.oci.spec.model import Mount, Spec

NULL = "/dev/null"
# Namespaces that criu takes as they are, by an fd: OCI type -> (its word, the name in the image).
INHERITED = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
_NULL_DEVICE = os.makedev(1, 3)
_CGROUP = frozenset({"cgroup", "cgroup2"})
# tty(4), pts(4), console(4): a terminal is criu's own matter, see --shell-job.
_TERMINALS = frozenset({4, 5, *range(136, 144)})


# ---- checkpoint ----------------------------------------------------------------------------------
def named_mounts(spec: Spec, pid: int) -> list[tuple[str, str]]:
    """Return (mount point, name) of the mounts that criu cannot make anew by itself.

    Bind mounts and what came with a recursive one, masks of files, cgroups. The mount points are
    where they really are: a destination may lead through a symlink of the image.
    """
    mounted = mounts_of(read_text(f"/proc/{pid}/mountinfo"))
    points = {one.id: one.point for one in mounted}
    root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        asked = {
            one.destination: _point_of(root_fd, one.destination, points) for one in spec.mounts
        }
        masks = {
            _point_of(root_fd, path, points, device=_NULL_DEVICE): NULL
            for path in spec.linux.masked_paths
        }
    finally:
        os.close(root_fd)
    names = {there.point: there.point for there in mounted if there.fs_type in _CGROUP}
    names |= masks
    names |= {asked[one.destination]: one.destination for one in _binds(spec)}
    for one in _binds(spec):
        top = asked[one.destination]
        if top and resolve(one.options).recursive_bind:
            below = [there.point for there in mounted if there.point.startswith(f"{top}/")]
            for point in below:
                if point not in asked.values():
                    names.setdefault(point, one.destination + point[len(top) :])
    # Of what is not there any more.
    names.pop("", None)
    return sorted(names.items())


def _binds(spec: Spec) -> list[Mount]:
    found = [one for one in spec.mounts if is_bind(one)]
    return [one for one in found if not resolve(one.options).remount]


def _point_of(root_fd: int, path: str, points: dict[int, str], *, device: int = 0) -> str:
    """Return the mount point that a path of the container lies on, "" where there is none.

    With `device` that device must be what is mounted there.
    """
    try:
        fd = open_in_root(root_fd, path)
    except KernelError as error:
        # Unmounted or removed by the container, or a symlink that leads nowhere.
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
            return ""
        raise
    try:
        found = os.fstat(fd)
        point = points.get(mount_id_of(fd), "")
        if device and (found.st_rdev != device or not _same_name(point, path)):
            return ""
        return point
    finally:
        os.close(fd)


def _same_name(point: str, path: str) -> bool:
    # A node that was made lies on the mount of its directory.
    return os.path.basename(point) == os.path.basename(path)


def namespaces(spec: Spec, pid: int) -> list[str]:
    """Return criu's words for the namespaces that are to be there already at a restore."""
    words: list[str] = []
    for one in spec.linux.namespaces:
        if one.path and one.type in INHERITED:
            kind, name = INHERITED[one.type]
            words.append(f"{kind}[{os.stat(f'/proc/{pid}/ns/{kind}').st_ino}]:{name}")
    return words


def descriptors(pid: int) -> list[str]:
    """Return what fds 0 to 2 of a process are: a name that a restore gives its own fd for.

    That is `pipe:[INODE]`, or for a file that is not the container's `file[MOUNT:INODE]`, in
    criu's words; any other text says that it is the container's own, or nothing.
    """
    inside = {one.id for one in mounts_of(read_text(f"/proc/{pid}/mountinfo"))}
    found: list[str] = []
    for number in range(3):
        try:
            name = os.readlink(f"/proc/{pid}/fd/{number}")
            status = os.stat(f"/proc/{pid}/fd/{number}")
        except OSError:
            # Closed.
            found.append("")
            continue
        is_file = stat.S_ISREG(status.st_mode) or (
            stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) not in _TERMINALS
        )
        mount = mount_id(f"/proc/{pid}/fdinfo/{number}")
        if is_file and name.startswith("/") and mount not in inside:
            name = f"file[{mount:x}:{status.st_ino:x}]"
        found.append(name)
    return found


def is_outside(descriptor: str) -> bool:
    """Tell whether criu must be told of a file, since no mount of the container leads to it."""
    return descriptor.startswith("file[")


# ---- restore -------------------------------------------------------------------------------------
def sources(spec: Spec, bundle: str, host: Host, cgroups: CgroupPlan) -> list[tuple[str, str]]:
    """Return (name, path on the host) of everything that `named_mounts` may have named."""
    found = {NULL: NULL}
    mounted = [one.point for one in mounts_of(read_text("/proc/self/mountinfo"))]
    for one in spec.mounts:
        if one.type == "cgroup" and not is_bind(one):
            found |= dict(cgroup_mount.sources(one, spec, host, cgroups))
    for one in _binds(spec):
        source = os.path.normpath(os.path.join(bundle, one.source))
        found[one.destination] = source
        if resolve(one.options).recursive_bind:
            for point in mounted:
                if point.startswith(f"{source.rstrip('/')}/"):
                    name = one.destination.rstrip("/") + point[len(source.rstrip("/")) :]
                    found.setdefault(name, point)
    return sorted(found.items())


def inherited(names: list[str]) -> list[tuple[str, int]]:
    """Return (name, fd of ours) of the descriptors that a restored process gets from us."""
    keys: dict[str, int] = {}
    for number, name in enumerate(names[:3]):
        if name.startswith("pipe:[") or is_outside(name):
            keys.setdefault(name, number)
    return sorted(keys.items())
