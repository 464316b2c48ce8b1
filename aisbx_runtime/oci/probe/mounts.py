"""File systems: overlay for root and in user namespaces, id mapped mounts."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import why_of
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.mount import AT_FDCWD, OPEN_TREE_CLONE
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import SIGKILL, reap, send_signal
from aisbx_runtime.oci.probe.check import (
    LIMITED,
    MISSING,
    OK,
    Check,
    keep_mounts_private,
    new_file_system,
    why_not,
)
from aisbx_runtime.oci.probe.users import has_capability, is_nested

# Where the tmpfs for the layers goes, in a mount namespace that ends with the child.
_PLACE = "/proc"
_AS_ROOT = "call it as root"


def checks() -> list[Check]:
    """Return the checks of this topic."""
    return [_overlay(), _overlay_in_user_namespace(), _idmapped()]


def _try_overlay(*options: tuple[str, str]) -> None:
    keep_mounts_private()
    tree_fd = new_file_system("tmpfs")
    mount.move_mount_to_path(tree_fd, _PLACE)
    os.close(tree_fd)
    for name in ("lower", "upper", "work"):
        os.mkdir(f"{_PLACE}/{name}")
    layers = (
        ("lowerdir", f"{_PLACE}/lower"), ("upperdir", f"{_PLACE}/upper"),
        ("workdir", f"{_PLACE}/work"),
    )  # fmt: skip
    os.close(new_file_system("overlay", (*layers, *options)))


def _overlay() -> Check:
    if not has_capability("CAP_SYS_ADMIN"):
        return Check(
            "overlay", "overlay", LIMITED, "not tried: the caller may not mount",
            "see overlay in user namespaces", _AS_ROOT,
        )  # fmt: skip
    why = why_not(_try_overlay, CLONE_NEWNS)
    if why:
        return Check(
            "overlay", "overlay", MISSING, why,
            "engines copy images instead of stacking them (vfs): slow, and much disk",
            command="modprobe overlay",
        )  # fmt: skip
    return Check("overlay", "overlay", OK, "mounted with upper and work directory")


def _overlay_in_user_namespace() -> Check:
    def try_it() -> None:
        _try_overlay(("userxattr", ""))

    why = why_not(try_it, CLONE_NEWUSER | CLONE_NEWNS)
    if why:
        return Check(
            "overlay-userxattr", "overlay rootless", MISSING, why,
            "rootless engines need fuse-overlayfs, or copy images",
            command="apt-get install fuse-overlayfs",
        )  # fmt: skip
    return Check("overlay-userxattr", "overlay rootless", OK, "in a user namespace, with userxattr")


def _idmapped() -> Check:
    if not has_capability("CAP_SYS_ADMIN") or is_nested():
        return Check(
            "idmapped-mounts", "id mapped mounts", LIMITED, "not tried: needs root of the host",
            "mounts with idmap are refused by the kernel for this caller", _AS_ROOT,
        )  # fmt: skip
    found = {name: _why_not_mapped(name) for name in ("/", "tmpfs")}
    good = [name for name, why in found.items() if not why]
    bad = [f"{name} ({why})" for name, why in found.items() if why]
    if not bad:
        return Check("idmapped-mounts", "id mapped mounts", OK, "on / and on tmpfs")
    return Check(
        "idmapped-mounts", "id mapped mounts", LIMITED if good else MISSING,
        f"{', '.join(good) or 'none'}; not: {', '.join(bad)}",
        "mounts with idmap work only where the file system can",
        "keep what is to be mapped on ext4, xfs or btrfs; tmpfs needs Linux 6.3, overlay 5.19",
    )  # fmt: skip


def _why_not_mapped(what: str) -> str:
    """Try a mapped, detached mount; return "" or why it failed. It is never attached."""
    try:
        pid, pidfd = clone3(CLONE_NEWUSER)
    except OSError as error:
        return why_of(error)
    if pid == 0:
        # Killed as soon as its user namespace has been opened and mapped.
        _wait_for_ever()
    try:
        for kind in ("uid_map", "gid_map"):
            _write(f"/proc/{pid}/{kind}", "0 100000 65536")
        namespace_fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return why_of(error)
    finally:
        send_signal(pidfd, SIGKILL)
        reap(pidfd)
        os.close(pidfd)

    def try_it() -> None:
        keep_mounts_private()
        tree_fd = (
            new_file_system(what) if what == "tmpfs"
            else mount.open_tree(AT_FDCWD, what, OPEN_TREE_CLONE)
        )  # fmt: skip
        mount.map_ids(tree_fd, namespace_fd, recursive=False)

    try:
        return why_not(try_it, CLONE_NEWNS)
    finally:
        os.close(namespace_fd)


def _wait_for_ever() -> None:
    import select

    try:
        select.select([], [], [], 60)
    finally:
        os._exit(0)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
