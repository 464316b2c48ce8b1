"""/dev: the default devices of the spec, `linux.devices`, and the links that programs expect.

The device filter of the cgroup lives in `cgroup*`. /dev is opened once, without following
symlinks (CVE-2026-41579, CVE-2026-47766), and everything is made relative to that fd.
"""

from __future__ import annotations

import errno
import stat

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, KernelError, kernel_error, why_of
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.mount import AT_FDCWD, OPEN_TREE_CLONE
from aisbx_runtime.oci.kernel.path import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    make_dirs_in_root,
    make_file_in_root,
    openat2,
    split,
)
from aisbx_runtime.oci.plan import mounts, namespaces, rootfs
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.model import Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Spec

# config-linux.md, "Default Devices"; /dev/console and /dev/ptmx are made by `terminal` and below.
DEFAULT_DEVICES = tuple(
    Device("c", f"/dev/{name}", major, minor, 0o666, 0, 0)
    for name, major, minor in (
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9),
        ("tty", 5, 0),
    )
)  # fmt: skip
# A device can be written to on a read-only mount; its mode, owner and times cannot be changed.
_BOUND_ATTRIBUTES = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)


@record
class MakeDevice:
    """Make a device node."""

    device: Device
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        one = self.device
        numbers = "" if one.type == "p" else f" {one.major}:{one.minor}"
        return f"make the device {one.path} ({one.type}{numbers})"

    def apply(self, at: World) -> None:
        """Make it, or accept a node of the same kind and number that is there."""
        one = self.device
        parent, name = split(one.path)
        parent_fd = open_directory(at.root_fd, parent)
        kind = _KINDS[one.type]
        number = _number(one)
        try:
            os.mknod(name, kind | _mode(one), number, dir_fd=parent_fd)
        except FileExistsError:
            _accept_existing(name, parent_fd, kind, number, one.path)
        except OSError as error:
            raise kernel_error(error.errno or 0, "mknodat", one.path) from None
        else:
            if one.uid or one.gid:
                owner = (one.uid or 0, one.gid or 0)
                os.chown(name, *owner, dir_fd=parent_fd, follow_symlinks=False)
        finally:
            os.close(parent_fd)


def _mode(one: Device) -> int:
    # podman's fileMode carries S_IFMT bits.
    return (0o666 if one.file_mode is None else one.file_mode) & 0o7777


def _number(one: Device) -> int:
    return os.makedev(one.major, one.minor)


def _accept_existing(name: str, parent_fd: int, kind: int, number: int, path: str) -> None:
    found = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    if stat.S_IFMT(found.st_mode) != kind or (kind != stat.S_IFIFO and found.st_rdev != number):
        # CVE-2026-88265: what an image put in place of a device must not be taken for one.
        raise Failure(
            f"cannot make the device {path}: the rootfs has something else there",
            hint="remove it from the image, or mount a tmpfs on /dev",
        )


@record
class OpenDevice:
    """Take a device node of the host, for a user namespace, where mknod(2) is refused.

    Where the host has no such node, root makes one: `owner` is its uid and gid outside of the
    container, None for who may not.
    """

    device: Device
    owner: tuple[int, int] | None
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"take the host's device {self.device.path}"

    def apply(self, at: World) -> None:
        """Clone its mount; the fd is inherited by container init."""
        one = self.device
        if self.owner is None or self._is_there():
            at.trees[one.path] = mount.open_tree(AT_FDCWD, one.path, OPEN_TREE_CLONE)
            return
        # It stays there until delete: what has no name cannot be mounted.
        name = f"device-{len(at.trees)}"
        self._make(name, at.scratch_fd)
        tree_fd = mount.open_tree(at.scratch_fd, name, OPEN_TREE_CLONE)
        # /run is mounted nodev.
        mount.mount_setattr(tree_fd, attr_clr=mount.MOUNT_ATTR_NODEV, path=one.path)
        at.trees[one.path] = tree_fd

    def _is_there(self) -> bool:
        try:
            found = os.stat(self.device.path)
        except OSError:
            return False
        kind = _KINDS[self.device.type]
        return stat.S_IFMT(found.st_mode) == kind and found.st_rdev == _number(self.device)

    def _make(self, name: str, directory_fd: int) -> None:
        assert self.owner is not None  # noqa: S101  (apply has looked)
        kind = _KINDS[self.device.type]
        try:
            os.mknod(name, kind | 0o600, _number(self.device), dir_fd=directory_fd)
        except OSError as error:
            raise kernel_error(error.errno or 0, "mknodat", self.device.path) from None
        os.chown(name, *self.owner, dir_fd=directory_fd, follow_symlinks=False)
        os.chmod(name, _mode(self.device), dir_fd=directory_fd)


@record
class BindDevice:
    """Bind a device node of the host."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"bind the host's device at {self.path}"

    def apply(self, at: World) -> None:
        """Attach it on an empty file."""
        tree_fd = at.trees.pop(self.path)
        # The inode stays the host's, and with identity mappings root here is its owner.
        mount.mount_setattr(
            tree_fd,
            attr_set=_BOUND_ATTRIBUTES,
            propagation=mount.MS_PRIVATE,
            path=self.path,
        )
        target_fd = make_file_in_root(at.root_fd, self.path)
        mount.move_mount(tree_fd, target_fd, path=self.path)
        os.close(target_fd)
        os.close(tree_fd)


@record
class MakeLinks:
    """Make /dev/fd, /dev/stdin, /dev/stdout, /dev/stderr and /dev/ptmx (config-linux.md)."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "link /dev/fd, /dev/stdin, /dev/stdout, /dev/stderr, /dev/ptmx"

    def apply(self, at: World) -> None:
        """Make them where nothing is there; ptmx is always the one of the container's devpts."""
        dev_fd = open_directory(at.root_fd, "/dev")
        try:
            for name, target in LINKS:
                _link(name, target, dev_fd)
            _link_ptmx(dev_fd)
        finally:
            os.close(dev_fd)


def _link(name: str, target: str, dev_fd: int) -> None:
    try:
        os.symlink(target, name, dir_fd=dev_fd)
    except FileExistsError:
        # The image's own: it is read by the container only.
        return
    except OSError as error:
        raise kernel_error(error.errno or 0, "symlinkat", f"/dev/{name}") from None


def _link_ptmx(dev_fd: int) -> None:
    try:
        os.symlink("pts/ptmx", "ptmx", dir_fd=dev_fd)
    except FileExistsError:
        found = os.stat("ptmx", dir_fd=dev_fd, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode) and os.readlink("ptmx", dir_fd=dev_fd) == "pts/ptmx":
            return
        os.unlink("ptmx", dir_fd=dev_fd)
        os.symlink("pts/ptmx", "ptmx", dir_fd=dev_fd)
    except OSError as error:
        raise kernel_error(error.errno or 0, "symlinkat", "/dev/ptmx") from None


def open_directory(root_fd: int, path: str) -> int:
    """Open a directory for device nodes: made when missing, never through a symlink."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return openat2(root_fd, path, flags, resolve=resolve)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            os.close(make_dirs_in_root(root_fd, path))
            return openat2(root_fd, path, flags, resolve=resolve)
        raise Failure(
            f"cannot make devices in {path}: it must be a real directory in the rootfs",
            why=why_of(error),
            hint=f"remove the symlink or file {path} from the image",
        ) from None


def is_dev_bound(spec: Spec) -> bool:
    """Tell whether the caller's own /dev is bound: then nothing may be made in it."""
    return any(
        os.path.normpath(one.destination) == "/dev" and mounts.is_bind(one) for one in spec.mounts
    )


def wanted(spec: Spec) -> list[tuple[Device, str]]:
    """Return (device, origin) of all device nodes; `linux.devices` wins over the defaults."""
    listed = [(one, f"linux.devices[{index}]") for index, one in enumerate(spec.linux.devices)]
    # Docker and podman list a device twice when the user names a default one: the last wins.
    by_path = {one.path: (one, "config-linux.md: default devices") for one in DEFAULT_DEVICES}
    by_path.update({one.path: (one, origin) for one, origin in listed})
    return list(by_path.values())


def check(spec: Spec, host: Host) -> None:
    """Refuse nodes that would stay bound in a mount namespace of others. Raises Failure."""
    if not (rootfs.has_mounts(spec) or is_dev_bound(spec)) and binds_devices(spec, host):
        raise Failure(
            "the devices of /dev need a new mount namespace: none can be made here, and bound "
            "ones would stay outside of the container",
            where="config.json",
            hint='add {"type": "mount"} to linux.namespaces',
        )


def host_steps(spec: Spec, host: Host) -> list[Step]:
    """Return how the runtime takes device nodes that container init may not make."""
    if is_dev_bound(spec) or not binds_devices(spec, host):
        return []
    return [
        OpenDevice(one, _owner(one, spec, host), origin)
        for one, origin in wanted(spec)
        if one.type != "p"
    ]


def _owner(one: Device, spec: Spec, host: Host) -> tuple[int, int] | None:
    if host.euid != 0 or host.user_namespace:
        return None
    linux = spec.linux
    uid = namespaces.outside(one.uid or 0, linux.uid_mappings)
    gid = namespaces.outside(one.gid or 0, linux.gid_mappings)
    return None if uid < 0 or gid < 0 else (uid, gid)


def init_steps(spec: Spec, host: Host) -> list[Step]:
    """Return how container init fills /dev."""
    if is_dev_bound(spec):
        return []
    binds = binds_devices(spec, host)
    steps: list[Step] = [
        BindDevice(one.path, origin) if binds and one.type != "p" else MakeDevice(one, origin)
        for one, origin in wanted(spec)
    ]
    steps.append(MakeLinks("runtime-linux.md: dev symbolic links"))
    return steps


def binds_devices(spec: Spec, host: Host) -> bool:
    """Tell whether mknod(2) is refused: it needs CAP_MKNOD in the initial user namespace."""
    return host.user_namespace or namespaces.has_user_namespace(spec) or host.euid != 0
