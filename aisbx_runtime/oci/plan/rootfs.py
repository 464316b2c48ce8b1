"""The root: attaching the rootfs, propagation, pivot_root. Mounts live in `mounts`."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, KernelError, kernel_error
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.mount import AT_FDCWD, AT_RECURSIVE, OPEN_TREE_CLONE
from aisbx_runtime.oci.plan import mounts, namespaces
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Spec

# Propagation of the rootfs by its OCI name -> (MS_*, recursive).
PROPAGATION = {
    "private": (mount.MS_PRIVATE, False),
    "rprivate": (mount.MS_PRIVATE, True),
    "slave": (mount.MS_SLAVE, False),
    "rslave": (mount.MS_SLAVE, True),
    "shared": (mount.MS_SHARED, False),
    "rshared": (mount.MS_SHARED, True),
    "unbindable": (mount.MS_UNBINDABLE, False),
    "runbindable": (mount.MS_UNBINDABLE, True),
}


@record
class CloneRootfs:
    """Take a copy of the mount tree at the rootfs, so that only fds are used from here on."""

    path: str
    propagation: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"take the rootfs {self.path}"

    def apply(self, at: World) -> None:
        """Clone the tree; the fd is inherited by container init."""
        flags = OPEN_TREE_CLONE | AT_RECURSIVE
        tree_fd = mount.open_tree(AT_FDCWD, self.path, flags)
        at.trees["root"] = tree_fd
        # A copy is a peer of its source: without this a mount in the container appears outside.
        mount.mount_setattr(tree_fd, propagation=self.propagation, recursive=True)


@record
class CutPropagation:
    """Stop mounts of this new mount namespace from reaching the host (mount_namespaces(7))."""

    propagation: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"make every inherited mount {_NAMES[self.propagation]}"

    def apply(self, at: World) -> None:
        """Change the whole tree at once."""
        del at
        root_fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            mount.mount_setattr(root_fd, propagation=self.propagation, recursive=True, path="/")
        finally:
            os.close(root_fd)


_NAMES = {mount.MS_PRIVATE: "private", mount.MS_SLAVE: "a slave", mount.MS_SHARED: "shared"}


@record
class AttachRootfs:
    """Attach the rootfs where it came from: createContainer hooks find it by that path."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"attach the rootfs at {self.path}"

    def apply(self, at: World) -> None:
        """Mount it there, or over "/" where a user namespace may not walk the path."""
        at.root_fd = at.trees["root"]
        try:
            mount.move_mount_to_path(at.root_fd, self.path)
            at.root_path = self.path
        except KernelError as error:
            if error.errno != errno.EACCES:
                raise
            # Paths still start at the old root, which lies below.
            mount.move_mount_to_path(at.root_fd, "/")


@record
class OpenRoot:
    """Open the rootfs as a directory: there is no new mount namespace to attach it in."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"open the rootfs {self.path}"

    def apply(self, at: World) -> None:
        """Open it; the mount namespace is the one that was joined, if any."""
        try:
            at.root_fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise kernel_error(error.errno or 0, "open", self.path) from None


@record
class PivotRoot:
    """Make the rootfs the root and let go of the old one."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "pivot to the rootfs and detach the old root"

    def apply(self, at: World) -> None:
        """See pivot_root(2), `pivot_root(".", ".")`: no directory for the old root is needed."""
        os.fchdir(at.root_fd)
        mount.pivot_root_here()
        # The old root now lies on top of the new one: "." is still the new root below it.
        mount.umount_detach(".")
        os.chdir("/")


@record
class ChangeRoot:
    """Enter the rootfs by chroot: for --no-pivot, and without a mount namespace of its own."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "chroot to the rootfs"

    def apply(self, at: World) -> None:
        """See chroot(2)."""
        os.fchdir(at.root_fd)
        os.chroot(".")
        os.chdir("/")


@record
class SetRootPropagation:
    """Give the root the propagation that the spec asks for, when nothing is mounted any more."""

    name: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"make the root {self.name}"

    def apply(self, at: World) -> None:
        """Change the root mount, or all mounts below it as well."""
        propagation, recursive = PROPAGATION[self.name]
        mount.mount_setattr(at.root_fd, propagation=propagation, recursive=recursive, path="/")


@record
class MakeRootReadOnly:
    """Make the root mount, and only it, read-only."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "make the root read-only"

    def apply(self, at: World) -> None:
        """Set MOUNT_ATTR_RDONLY on the root mount."""
        attributes = mount.MOUNT_ATTR_RDONLY
        mount.mount_setattr(at.root_fd, attr_set=attributes, path="/")


@record
class OpenProc:
    """Keep the runtime's own procfs for writes under /proc: the container's may be a trap.

    See CVE-2025-52881: whatever is written to the container's /proc may be redirected.
    """

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "keep a private procfs"

    def apply(self, at: World) -> None:
        """Clone the mount without what is mounted on it."""
        try:
            at.proc_fd = mount.open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE)
        except KernelError as error:
            if error.errno == errno.EPERM:
                # A plain user who enters a container: its own rights are all that this fd has.
                at.proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                return
            if error.errno != errno.EINVAL:
                raise
            # mount_namespaces(7): in a less privileged mount namespace, as podman's without root,
            # what is mounted on it may not be parted from it (systemd's /proc/sys/fs/binfmt_misc).
            # Whoever looks something up here does not cross into it.
            flags = OPEN_TREE_CLONE | AT_RECURSIVE
            at.proc_fd = mount.open_tree(AT_FDCWD, "/proc", flags)


@record
class MakeWorkingDirectory:
    """Make the working directory where the rootfs lacks it, as runc does: engines rely on it."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"make the working directory {self.path} if it is missing"

    def apply(self, at: World) -> None:
        """Make it and its parents with mode 0755."""
        from aisbx_runtime.oci.kernel.path import make_dirs_in_root

        os.close(make_dirs_in_root(at.root_fd, self.path))


def has_mount_namespace(spec: Spec) -> bool:
    """Tell whether the container gets a mount namespace that is its own, or becomes it."""
    return namespaces.is_new(spec, "mount") or joins_mounts(spec)


def joins_mounts(spec: Spec) -> bool:
    """Tell whether the container has something to mount in a mount namespace that it joins."""
    if not namespaces.is_private(spec, "mount") or namespaces.is_new(spec, "mount"):
        return False
    linux = spec.linux
    return bool(spec.mounts or spec.root.readonly or linux.masked_paths or linux.readonly_paths)


def shares_mounts(spec: Spec) -> bool:
    """Tell whether the container is to have mounts of its own in the runtime's mount namespace."""
    # A user namespace would have no right to them.
    private = namespaces.is_private(spec, "mount") or namespaces.has_user_namespace(spec)
    return not private and bool(spec.mounts or spec.root.readonly)


def has_mounts(spec: Spec) -> bool:
    """Tell whether what is mounted for the container goes with it."""
    return has_mount_namespace(spec) or shares_mounts(spec)


def check(spec: Spec) -> None:
    """Refuse what would change the mounts of somebody else. Raises Failure."""
    if not has_mounts(spec):
        check_mount_namespace(spec)
    if shares_mounts(spec) and any(mounts.is_root(one.destination) for one in spec.mounts):
        # It could not be told from what somebody else mounts at that path of the host.
        raise Failure(
            "a mount at / needs a new mount namespace",
            where="config.json",
            hint='add {"type": "mount"} to linux.namespaces',
        )


def check_mount_namespace(spec: Spec) -> None:
    """Refuse mounts where the container has no new mount namespace for them. Raises Failure."""
    if has_mount_namespace(spec):
        return
    asked = {
        "mounts": spec.mounts,
        "linux.maskedPaths": spec.linux.masked_paths,
        "linux.readonlyPaths": spec.linux.readonly_paths,
        "root.readonly": spec.root.readonly,
    }
    for name, value in asked.items():
        if value:
            raise Failure(
                f"{name} needs a new mount namespace: it would change mounts outside the container",
                where="config.json",
                hint='add {"type": "mount"} to linux.namespaces',
            )


def host_steps(spec: Spec, bundle: str) -> list[Step]:
    """Return what the runtime prepares before container init is born."""
    path = path_of(spec, bundle)
    if has_mount_namespace(spec):
        taken = CloneRootfs(path, inherited(spec), "root.path")
        if not joins_mounts(spec):
            return [taken]
        from aisbx_runtime.oci.plan import joined_mounts

        # What follows may have to be undone from outside: no /proc in there is to be trusted.
        return [taken, *joined_mounts.host_steps(spec), OpenProc("runtime default")]
    if not shares_mounts(spec):
        return []
    from aisbx_runtime.oci.plan import shared_mounts

    return [CloneRootfs(path, mount.MS_PRIVATE, "root.path"), *shared_mounts.host_steps(path)]


def path_of(spec: Spec, bundle: str) -> str:
    """Return the absolute host path of the rootfs (config.md: relative to the bundle)."""
    return os.path.normpath(os.path.join(bundle, spec.root.path))


def inherited(spec: Spec) -> int:
    """Return the propagation (MS_*) of what the container inherits or is given."""
    # What is cloned or inherited may at most receive: a peer would send mounts to the host.
    if spec.linux.rootfs_propagation in {"private", "rprivate"}:
        return mount.MS_PRIVATE
    return mount.MS_SLAVE


def attach_steps(spec: Spec, bundle: str) -> list[Step]:
    """Return how container init gets hold of the root."""
    if shares_mounts(spec):
        from aisbx_runtime.oci.plan import shared_mounts

        return shared_mounts.attach_steps()
    if not has_mount_namespace(spec):
        return [OpenRoot(path_of(spec, bundle), "root.path")]
    return [
        CutPropagation(inherited(spec), "linux.rootfsPropagation"),
        AttachRootfs(path_of(spec, bundle), "root.path"),
    ]


def pivot_steps(spec: Spec, *, no_pivot: bool) -> list[Step]:
    """Return how container init enters the root."""
    if not has_mount_namespace(spec) or joins_mounts(spec):
        return [ChangeRoot("linux.namespaces")]
    if no_pivot:
        from aisbx_runtime.oci.plan import no_pivot as chrooted

        return chrooted.steps()
    return [PivotRoot("root.path")]


def last_steps(spec: Spec) -> list[Step]:
    """Return what the runtime does when container init is ready, and nothing can fail any more."""
    if not joins_mounts(spec):
        return []
    from aisbx_runtime.oci.plan import joined_mounts

    return joined_mounts.last_steps(spec)


def confine_steps(spec: Spec) -> list[Step]:
    """Return what is left to do to the root once nothing is mounted on it any more."""
    steps: list[Step] = []
    if spec.root.readonly:
        steps.append(MakeRootReadOnly("root.readonly"))
    wanted = spec.linux.rootfs_propagation
    if wanted and has_mount_namespace(spec) and PROPAGATION[wanted][0] != inherited(spec):
        steps.append(SetRootPropagation(wanted, "linux.rootfsPropagation"))
    return steps
