"""`mounts` of config.json: bind mounts and file systems, by fd at both ends.

How sources of bind mounts are taken lives in `sources`, mounts of type `cgroup` in `cgroup_mount`,
device nodes in `devices`, masks in `paths`.
"""

from __future__ import annotations

import stat

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, HostError, KernelError, why_of
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.path import (
    PROC_SUPER_MAGIC,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    fs_type_of,
    make_dirs_in_root,
    make_file_in_root,
    make_last_in_root,
    open_in_root,
    openat2,
)
from aisbx_runtime.oci.plan.copyup import copy_directory
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.mount_options import MountOptions, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Mount, Spec

# Files of /proc that may be covered: tools such as lxcfs give them per-container content.
PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
        "net/dev", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip
# fsconfig(2) takes at most 255 bytes of a value; overlay's lowerdir is often longer.
_FSCONFIG_VALUE_BYTES = 255


@record
class BindMount:
    """Attach a source that was taken before; `long_before` other mounts were made since then."""

    source: str
    target: str
    options: MountOptions
    propagation: int
    key: str
    origin: str
    long_before: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"bind {self.source} at {self.target}{shown(self.options)}"

    def apply(self, at: World) -> None:
        """Set propagation and flags while it is detached, then move it to its target."""
        tree_fd = at.trees.pop(self.key)
        if self.options.propagation != mount.MS_SHARED:
            # What stays shared with the source must keep its peers (mount_namespaces(7)).
            mount.mount_setattr(
                tree_fd, propagation=self.propagation, recursive=True, path=self.target
            )
        if stat.S_ISDIR(os.fstat(tree_fd).st_mode):
            target_fd = make_dirs_in_root(at.root_fd, self.target)
        elif self.options.dest_nofollow:
            target_fd = make_last_in_root(at.root_fd, self.target)
        else:
            target_fd = make_file_in_root(at.root_fd, self.target)
        _check_proc(self.target, target_fd, is_proc=fs_type_of(tree_fd) == PROC_SUPER_MAGIC)
        if self.long_before:
            tree_fd = self._renewed(at, tree_fd, target_fd)
        set_options(tree_fd, self.options, self.target)
        _attach(at, tree_fd, target_fd, self.target)

    def _renewed(self, at: World, tree_fd: int, target_fd: int) -> int:
        """Return a copy that is as old as its place in the list; closes `tree_fd`.

        open_tree(2): only what is attached in this mount namespace can be copied here.
        """
        mount.move_mount(tree_fd, target_fd, path=self.target)
        copy_fd = mount.clone(tree_fd, path=self.target)
        # A peer would take the mounts below it away from the source as well.
        mount.mount_setattr(tree_fd, propagation=mount.MS_PRIVATE, recursive=True)
        if at.proc_fd >= 0:
            mount.umount_fd(at.proc_fd, tree_fd, path=self.target)
        else:
            mount.umount_detach(f"/proc/self/fd/{tree_fd}")
        os.close(tree_fd)
        return copy_fd


@record
class FileSystemMount:
    """Mount a new file system."""

    type: str
    source: str
    target: str
    options: MountOptions
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"mount {self.type} at {self.target}{shown(self.options)}"

    def apply(self, at: World) -> None:
        """Configure, create and attach it. See fsopen(2)."""
        is_new = self.type == "tmpfs" and not _is_directory(at.root_fd, self.target)
        target_fd = open_target(at.root_fd, self.target, self.type)
        _check_proc(self.target, target_fd, is_proc=self.type == "proc")
        data = self._data(target_fd, is_new=is_new)
        if any(len(value or "") > _FSCONFIG_VALUE_BYTES for _, value in data):
            self._mount_long(at, target_fd, data)
            return
        context_fd = mount.fsopen(self.type)
        try:
            mount.fsconfig_string(context_fd, "source", self.source or self.type)
            for key, value in data:
                if value is None:
                    mount.fsconfig_flag(context_fd, key)
                else:
                    mount.fsconfig_string(context_fd, key, value)
            mount.fsconfig_create(context_fd)
            tree_fd = mount.fsmount(context_fd, 0)
        finally:
            os.close(context_fd)
        if self.options.tmpcopyup and not is_new:
            copy_directory(target_fd, tree_fd)
            # What was asked for wins over the directory that is copied.
            for key, value in self.options.data:
                if key == "mode" and value is not None:
                    os.chmod(".", int(value, 8), dir_fd=tree_fd)
        set_options(tree_fd, self.options, self.target)
        _attach(at, tree_fd, target_fd, self.target)

    def _data(self, target_fd: int, *, is_new: bool) -> list[tuple[str, str | None]]:
        data: list[tuple[str, str | None]] = [
            (flag, None) for flag in self.options.superblock if flag not in {"ro", "rw"}
        ]
        data.extend(self.options.data)
        if self.type == "tmpfs" and not is_new and not any(key == "mode" for key, _ in data):
            # runc does so: an image's 1777 /tmp or 0700 directory keeps its mode. What the image
            # does not have is for everybody, as by mount(8): 1777, tmpfs(5).
            mode = stat.S_IMODE(os.fstat(target_fd).st_mode)
            data.append(("mode", f"{mode:o}"))
        return data

    def _mount_long(self, at: World, target_fd: int, data: list[tuple[str, str | None]]) -> None:
        pairs = [key if value is None else f"{key}={value}" for key, value in data]
        mount.mount_at_fd(self.source or self.type, target_fd, self.type, ",".join(pairs))
        os.close(target_fd)
        # mount(2) leaves us with the directory below the new mount: open the mount itself.
        if is_root(self.target):
            tree_fd = _open_over_root(at.root_path, self.type)
        else:
            tree_fd = open_in_root(at.root_fd, self.target)
        set_options(tree_fd, self.options, self.target)
        _keep_root(at, tree_fd, self.target)


@record
class MakeMountReadOnly:
    """Make a mount read-only after the runtime has put its own things there (/dev)."""

    target: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"make the mount {self.target} read-only"

    def apply(self, at: World) -> None:
        """Set MOUNT_ATTR_RDONLY on the mount that lies at the path."""
        fd = open_in_root(at.root_fd, self.target)
        try:
            mount.mount_setattr(fd, attr_set=mount.MOUNT_ATTR_RDONLY, path=self.target)
        finally:
            os.close(fd)


def open_target(root_fd: int, target: str, fs_type: str) -> int:
    """Open the directory to mount on, making it when missing; returns an O_PATH fd.

    /proc and /sys must not be reached through a symlink: an image that ships one would make the
    runtime write its labels and masks elsewhere (CVE-2019-16884, CVE-2023-27561, CVE-2025-54867).
    """
    if fs_type not in {"proc", "sysfs"}:
        return make_dirs_in_root(root_fd, target)
    try:
        os.close(make_dirs_in_root(root_fd, target))
        resolve_flags = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
        return openat2(root_fd, target, os.O_PATH | os.O_DIRECTORY, resolve=resolve_flags)
    except KernelError as error:
        raise Failure(
            f"cannot mount {fs_type} at {target}: it must be mounted on ordinary directory",
            why=why_of(error),
            hint=f"remove the symlink or file {target} from the image",
        ) from None


def _is_directory(root_fd: int, path: str) -> bool:
    try:
        os.close(open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY))
    except KernelError:
        return False
    return True


def _check_proc(target: str, target_fd: int, *, is_proc: bool) -> None:
    # An image's VOLUME /proc, or a file over /proc/self/attr, would stand in for the real thing.
    # A symlink of the image may lead there as well: what counts is where the fd lies.
    if is_proc or target in PROC_FILES:
        return
    inside = target == "/proc" or target.startswith("/proc/")
    if inside or fs_type_of(target_fd) == PROC_SUPER_MAGIC:
        raise Failure(
            f"cannot mount at {target}: only a procfs may be mounted on or inside /proc",
            hint="choose another destination for the mount",
        )


def set_options(tree_fd: int, options: MountOptions, path: str) -> None:
    """Set flags and propagation of the mount that `tree_fd` is the root of."""
    if options.attr_set or options.attr_clr:
        mount.mount_setattr(
            tree_fd, attr_set=options.attr_set, attr_clr=options.attr_clr, path=path
        )
    if options.rec_attr_set or options.rec_attr_clr:
        mount.mount_setattr(
            tree_fd,
            attr_set=options.rec_attr_set,
            attr_clr=options.rec_attr_clr,
            recursive=True,
            path=path,
        )
    if options.propagation:
        mount.mount_setattr(
            tree_fd,
            propagation=options.propagation,
            recursive=options.propagation_recursive,
            path=path,
        )


def _attach(at: World, tree_fd: int, target_fd: int, path: str) -> None:
    mount.move_mount(tree_fd, target_fd, path=path)
    os.close(target_fd)
    _keep_root(at, tree_fd, path)


def _open_over_root(path: str, fs_type: str) -> int:
    # openat2(2) does not leave the mount that its root lies in: a path from outside does.
    if not path:
        raise Failure(
            f"cannot mount {fs_type} at /: no path leads to the rootfs, and an option is too long",
            why=f"fsconfig(2) takes {_FSCONFIG_VALUE_BYTES} bytes of a value",
            hint="use shorter paths, or let the root of the user namespace walk to the bundle",
        )
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _keep_root(at: World, tree_fd: int, path: str) -> None:
    # What covers the rootfs is the root of all that follows, as an engine's overlay on it.
    os.close(at.root_fd if is_root(path) else tree_fd)
    if is_root(path):
        at.root_fd = tree_fd


def shown(options: MountOptions) -> str:
    """Return what is worth telling of the options, as ` (ro, size=1m)`, or nothing."""
    words: list[str] = []
    attributes = options.attr_set | options.rec_attr_set
    for bit, word in (
        (mount.MOUNT_ATTR_RDONLY, "ro"),
        (mount.MOUNT_ATTR_NOSUID, "nosuid"),
        (mount.MOUNT_ATTR_NODEV, "nodev"),
        (mount.MOUNT_ATTR_NOEXEC, "noexec"),
    ):
        if attributes & bit:
            words.append(word)
    words.extend([key if value is None else f"{key}={value}" for key, value in options.data])
    return f" ({', '.join(words)})" if words else ""


def check(spec: Spec, host: Host) -> None:
    """Refuse id mappings where they cannot be: mount_setattr(2) wants root. Raises HostError."""
    if host.euid == 0:
        return
    for index, one in enumerate(spec.mounts):
        if maps_ids(one, resolve(one.options)):
            raise HostError(
                f"mounts[{index}]: the kernel lets only root map the ids of a mount",
                where="config.json",
                hint="run as root, or drop idmap and the mappings of the mount",
            )


def steps_of(
    index: int, one: Mount, *, propagation: int, taken_long_before: bool = False
) -> list[Step]:
    """Return how container init carries out one entry that is not of type `cgroup`."""
    origin = f"mounts[{index}]"
    options = resolve(one.options)
    if is_bind(one) and not options.remount:
        if options.attr_set & mount.MOUNT_ATTR_RDONLY and one.destination.rstrip("/") == "/sys":
            # CVE-2023-25809: with the top mount alone the host's cgroups below stay writable.
            options = resolve((*one.options, "rro"))
        bound = BindMount(
            one.source, one.destination, options, propagation, origin, origin, taken_long_before
        )
        if options.copy_symlink:
            from aisbx_runtime.oci.plan.symlink import CopySymlink

            return [CopySymlink(bound)]
        return [bound]
    if is_read_only_dev(one):
        options = resolve(tuple([word for word in one.options if word != "ro"]))
    if options.remount:
        from aisbx_runtime.oci.plan.remount import Remount

        return [Remount(one.destination, options, origin)]
    return [FileSystemMount(one.type, one.source, one.destination, options, origin)]


def is_root(destination: str) -> bool:
    """Tell whether something is mounted on the rootfs itself."""
    return os.path.normpath(destination).lstrip("/") in {"", "."}


def is_bind(one: Mount) -> bool:
    """Tell whether an entry binds something of the host (config.md: by option, type is ignored)."""
    return one.type == "bind" or "bind" in one.options or "rbind" in one.options


def maps_ids(one: Mount, options: MountOptions) -> bool:
    """Tell whether an entry asks for an id mapping; podman 5 sends mappings without the word."""
    return options.idmap or options.ridmap or bool(one.uid_mappings or one.gid_mappings)


def late_steps(spec: Spec) -> list[Step]:
    """Return what makes /dev read-only, when devices and the terminal are there."""
    return [
        MakeMountReadOnly(one.destination, f"mounts[{index}]")
        for index, one in enumerate(spec.mounts)
        if is_read_only_dev(one)
    ]


def is_read_only_dev(one: Mount) -> bool:
    """Tell whether this is a read-only /dev, which must stay writable until devices are made."""
    return (
        not is_bind(one)
        and os.path.normpath(one.destination) == "/dev"
        and bool(resolve(one.options).attr_set & mount.MOUNT_ATTR_RDONLY)
    )
