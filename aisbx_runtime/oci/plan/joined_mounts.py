"""Mounts in a mount namespace that is joined by path: from then on it is the container's.

The container works in a chroot until all else is done. Then the rootfs becomes the root of the
namespace, for whoever is in there too, and what was mounted there before is detached; until then
all can be undone. Paths of config.json are looked up in the runtime's mount namespace, as always.
Imported only for that.
"""

from __future__ import annotations

import errno
import sys

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, HostError, KernelError, kernel_error
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNS, setns
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import reap
from aisbx_runtime.oci.mountinfo import mount_id_of, mounts_here
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Namespace, Spec

# Of the processes that enter the namespace: what is no errno.
_DEFECT = 255


@record
class RefuseHost:
    """Refuse the mount namespaces that the machine runs in: they are nobody's to give away."""

    path: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"check that the mount namespace {self.path} is not that of the runtime, or of pid 1"

    def apply(self, at: World) -> None:
        """Compare the files of both. Raises Failure."""
        wanted = os.fstat(at.namespace_fds["mount"])
        for whose, path in (
            ("the runtime's own", "/proc/self/ns/mnt"),
            ("that of pid 1", "/proc/1/ns/mnt"),
        ):
            try:
                found = os.stat(path)
            except OSError:
                # Of a user namespace that this process has no rights in: setns(2) refuses it too.
                continue
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                raise Failure(
                    f"cannot join the mount namespace {self.path}: it is {whose}",
                    hint="remove the path: the container then gets one of its own",
                )


@record
class NoteRootfs:
    """Note where the rootfs will lie, by the id that it keeps, so that it can be taken away."""

    namespace: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"note that the rootfs will be in the mount namespace {self.namespace}"

    def apply(self, at: World) -> None:
        """Journal it before anything of it is there."""
        inode = os.fstat(at.namespace_fds["mount"]).st_ino
        at.own("mount-namespace", self.namespace)
        at.own("joined-mount", f"{inode} {mount_id_of(at.trees['root'])}")


@record
class BecomeRoot:
    """Make the rootfs the root of the namespace, at last: nothing fails any more after it."""

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "pivot the joined mount namespace to the rootfs and detach its old root"

    def apply(self, at: World) -> None:
        """See pivot_root(2): who has the old root for its own gets the new one."""
        root_fd = _open(f"/proc/{at.pid}/root", os.O_PATH | os.O_DIRECTORY)
        try:
            enter(at.namespace_fds["mount"], lambda: _pivot(root_fd))
        finally:
            os.close(root_fd)


def _pivot(root_fd: int) -> None:
    os.fchdir(root_fd)
    mount.pivot_root_here()
    mount.umount_detach(".")


def enter(namespace_fd: int, act: Callable[[], None]) -> None:
    """Call `act` in a mount namespace, in a process of its own. Raises KernelError of it."""
    pid, pidfd = clone3()
    if pid == 0:
        status = _DEFECT
        try:
            # Nothing is imported from in there (security.md 2.3).
            sys.meta_path.clear()
            sys.path.clear()
            setns(namespace_fd, CLONE_NEWNS)
            act()
            status = 0
        except OSError as error:
            status = error.errno or _DEFECT
        finally:
            os._exit(status)
    status = reap(pidfd)
    os.close(pidfd)
    if status:
        raise kernel_error(status if 0 < status < _DEFECT else errno.EIO, "pivot_root", "/")


def check(host: Host, *, no_pivot: bool) -> None:
    """Refuse what cannot be had in a namespace that is joined. Raises Failure."""
    where = "config.json"
    if host.euid != 0:
        raise HostError(
            "mounts in a mount namespace that is joined by path are for root only",
            where=where,
            hint="remove the path of the mount namespace",
        )
    if no_pivot:
        raise Failure(
            "--no-pivot is not for a mount namespace that is joined by path",
            hint="leave it away, or remove the path of the mount namespace",
        )


def host_steps(spec: Spec) -> list[Step]:
    """Return what the runtime does once the rootfs is taken."""
    origin, one = _entry(spec)
    return [RefuseHost(one.path or "", origin), NoteRootfs(one.path or "", origin)]


def last_steps(spec: Spec) -> list[Step]:
    """Return what the runtime does last of all."""
    return [BecomeRoot(_entry(spec)[0])]


def _entry(spec: Spec) -> tuple[str, Namespace]:
    return next(
        (f"linux.namespaces[{index}].path", one)
        for index, one in enumerate(spec.linux.namespaces)
        if one.type == "mount"
    )


def remove(path: str, journalled: str) -> None:
    """Detach a rootfs that has not become the root of its namespace. Raises Failure.

    `journalled` is "INODE ID", of the namespace at `path` and the mount. What is not there any
    more has gone with its namespace.
    """
    inode, _, number = journalled.partition(" ")
    try:
        namespace_fd = _open(path, os.O_RDONLY)
    except KernelError:
        return
    proc_fd = _open("/proc", os.O_PATH | os.O_DIRECTORY)
    try:
        if os.fstat(namespace_fd).st_ino == int(inode):
            enter(namespace_fd, lambda: _detach(proc_fd, number))
    except KernelError as error:
        raise Failure(
            f"cannot unmount the rootfs in the mount namespace {path}",
            why=f"umount2: {errno.errorcode.get(error.errno or 0, '')}",
            hint="end the processes in there",
        ) from None
    finally:
        os.close(namespace_fd)
        os.close(proc_fd)


def _detach(proc_fd: int, number: str) -> None:
    # What lies upon it goes first: a mount of config.json at "/".
    while (point := _point_of(proc_fd, number)) not in {"", "/"}:
        mount.umount_detach(point)


def _point_of(proc_fd: int, number: str) -> str:
    """Return where the mount with this id lies in the namespace of this process, else nothing."""
    found = [one.point for one in mounts_here(proc_fd) if str(one.id) == number]
    return found[0] if found else ""


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise kernel_error(error.errno or 0, "open", path) from None
