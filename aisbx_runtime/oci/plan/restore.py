"""The steps of a restore: what criu finds made, and what it cannot make.

criu makes processes, namespaces and mounts; cgroups, mount points in the rootfs, the settings of a
new network namespace and hooks are made as create makes them.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, kernel_error
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.mount import AT_FDCWD, AT_RECURSIVE, OPEN_TREE_CLONE
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNET, CLONE_NEWNS, setns, unshare
from aisbx_runtime.oci.kernel.path import open_in_root
from aisbx_runtime.oci.plan import (
    hooks,
    mounts,
    names,
    namespaces,
    paths,
    process,
    rootfs,
    sources,
)
from aisbx_runtime.oci.plan.remount import Remount
from aisbx_runtime.oci.plan.step import INIT, RUNTIME, Phase, Plan
from aisbx_runtime.oci.record import record, replace
from aisbx_runtime.oci.spec.mount_options import resolve
from aisbx_runtime.oci.spec.sysctl import namespace_of, path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.build import Options
    from aisbx_runtime.oci.plan.cgroup import CgroupPlan
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Spec
    from aisbx_runtime.oci.spec.mount_options import MountOptions

# Where criu finds the rootfs: below the container's directory.
ROOT_DIRECTORY = "criu-root"


@record
class LeaveMounts:
    """Work on mounts that nobody else sees, and that are gone with this process."""

    propagation: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "make a mount namespace that only criu uses"

    def apply(self, at: World) -> None:
        """Unshare, and keep what is mounted here from reaching the host."""
        unshare(CLONE_NEWNS)
        rootfs.CutPropagation(self.propagation, self.origin).apply(at)


@record
class AttachRootForCriu:
    """Attach the rootfs where criu looks for it; criu(8), --root: it must be a mount point."""

    path: str
    directory: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"attach the rootfs {self.path} at {self.directory}"

    def apply(self, at: World) -> None:
        """Bind it with all below."""
        del at
        tree_fd = mount.open_tree(AT_FDCWD, self.path, OPEN_TREE_CLONE | AT_RECURSIVE)
        mount.move_mount_to_path(tree_fd, self.directory)
        os.close(tree_fd)


@record
class EnterMounts:
    """Join the mount namespace that criu has made for the container, whose processes wait."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "enter the new mount namespace"

    def apply(self, at: World) -> None:
        """See setns(2): it changes the root as well."""
        setns(at.pidfd, CLONE_NEWNS)
        at.root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@record
class RestoreFlags:
    """Give a mount the flags that it was created with.

    Of bind mounts that have the file system of another and its flags criu binds the source anew
    and leaves the flags away (criu 4.2, do_bind_mount_v2): what was read-only could be written.
    """

    target: str
    options: MountOptions
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"set the flags of the mount at {self.target}{mounts.shown(self.options)}"

    def apply(self, at: World) -> None:
        """Set them; a container may have unmounted it."""
        try:
            fd = open_in_root(at.root_fd, self.target)
        except KernelError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return
            raise
        try:
            mounts.set_options(fd, replace(self.options, propagation=0), self.target)
        except KernelError as error:
            # No mount begins there.
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(fd)


@record
class EnterNetwork:
    """Join the network namespace that criu has made for the container."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "enter the new network namespace"

    def apply(self, at: World) -> None:
        """See setns(2)."""
        path = f"/proc/{at.pid}/ns/net"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise kernel_error(error.errno or 0, "open", path) from None
        setns(fd, CLONE_NEWNET, path=path)
        os.close(fd)


def build(
    spec: Spec,
    bundle: str,
    options: Options,
    cgroups: CgroupPlan,
    *,
    container_id: str,
    directory: str,
) -> Plan:
    """Return the plan of a restore; `directory` is the container's. Pure, as `build.build`."""
    groups, join_groups = _resctrl(spec, container_id)
    phases = (
        Phase("host", RUNTIME, (*namespaces.open_steps(spec), *cgroups.early, *groups)),
        Phase("mount points", INIT, tuple(_mount_points(spec, bundle))),
        # What is restored is born where criu is.
        Phase("adopt", RUNTIME, (*cgroups.join, *join_groups)),
        Phase("criu", INIT, tuple(_around_criu(spec, bundle, options, container_id, directory))),
        Phase("network", INIT, tuple(_network(spec))),
        Phase(
            "hooks",
            RUNTIME,
            (
                *_net_devices(spec),
                *hooks.steps("prestart", spec.hooks.prestart),
                *hooks.steps("createRuntime", spec.hooks.create_runtime),
            ),
        ),
        Phase("flags", INIT, tuple(_flags(spec))),
        # Only now: criu has needed more memory than the container may have.
        Phase("limits", RUNTIME, cgroups.limits),
    )
    return Plan(phases, cgroups.paths, ())


def _resctrl(spec: Spec, container_id: str) -> tuple[list[Step], list[Step]]:
    if spec.linux.intel_rdt is None:
        return [], []
    from aisbx_runtime.oci.plan import rdt

    wanted = spec.linux.intel_rdt
    return rdt.steps(wanted, container_id), rdt.join_steps(wanted, container_id)


def _mount_points(spec: Spec, bundle: str) -> list[Step]:
    """Return how what is mounted on is made in the rootfs: by mounting it all, and leaving."""
    found: list[Step] = [
        LeaveMounts(mount.MS_PRIVATE, "runtime default"),
        rootfs.CloneRootfs(rootfs.path_of(spec, bundle), mount.MS_PRIVATE, "root.path"),
        rootfs.AttachRootfs(rootfs.path_of(spec, bundle), "root.path"),
        *sources.steps(spec, bundle),
    ]
    propagation = rootfs.inherited(spec)
    for index, one in enumerate(spec.mounts):
        if one.type != "cgroup" or mounts.is_bind(one):
            found.extend(mounts.steps_of(index, one, propagation=propagation))
    return found


def _around_criu(
    spec: Spec, bundle: str, options: Options, container_id: str, directory: str
) -> list[Step]:
    """Return what the process that becomes criu does first; what is restored inherits it."""
    found: list[Step] = []
    if not options.no_new_keyring:
        found.append(process.JoinKeyring(process.KEYRING + container_id, "runtime default"))
    root = f"{directory}/{ROOT_DIRECTORY}"
    return [
        *found,
        # Slaves: criu copies from them what a mount of the container is a slave of.
        LeaveMounts(mount.MS_SLAVE, "runtime default"),
        AttachRootForCriu(rootfs.path_of(spec, bundle), root, "root.path"),
    ]


def _flags(spec: Spec) -> list[Step]:
    """Return how bind mounts and masks get their flags, in the order of create."""
    found: list[Step] = []
    for index, one in enumerate(spec.mounts):
        origin = f"mounts[{index}]"
        if one.type == "cgroup" and not mounts.is_bind(one):
            found.append(RestoreFlags(one.destination, resolve(one.options), origin))
            continue
        steps = mounts.steps_of(index, one, propagation=0)
        found += [
            RestoreFlags(step.target, step.options, origin)
            for step in steps
            if isinstance(step, mounts.BindMount | Remount)
        ]
    masked = replace(resolve(()), attr_set=paths.NULL_ATTRIBUTES)
    found += [
        RestoreFlags(path, masked, f"linux.maskedPaths[{index}]")
        for index, path in enumerate(spec.linux.masked_paths)
    ]
    return [EnterMounts("linux.namespaces"), *found] if found else []


def _network(spec: Spec) -> list[Step]:
    """Return what belongs to a network namespace that is new and empty."""
    if not namespaces.is_new(spec, "network"):
        return []
    kept = {
        name: value
        for name, value in spec.linux.sysctl.items()
        if namespace_of(path_of(name)) == "network"
    }
    return [
        *([rootfs.OpenProc("runtime default")] if kept else []),
        EnterNetwork("linux.namespaces"),
        namespaces.BringUpLoopback("linux.namespaces"),
        *[names.SetSysctl(name, value, f"linux.sysctl[{name!r}]") for name, value in kept.items()],
    ]


def _net_devices(spec: Spec) -> list[Step]:
    # In a namespace that was joined they are still there.
    if not spec.linux.net_devices or not namespaces.is_new(spec, "network"):
        return []
    from aisbx_runtime.oci.plan import net_devices

    return net_devices.steps(spec.linux.net_devices)
