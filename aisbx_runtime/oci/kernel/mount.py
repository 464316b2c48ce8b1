"""The mount API by file descriptor (Linux 5.2, mount_setattr 5.12); no path is resolved twice.

See open_tree(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2), mount_setattr(2).
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel.call import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

AT_FDCWD = -100  # include/uapi/linux/fcntl.h
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 0x1  # include/uapi/linux/mount.h
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

FSOPEN_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7
FSPICK_CLOEXEC = 0x1
FSPICK_EMPTY_PATH = 0x8
FSMOUNT_CLOEXEC = 0x1

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

MS_REC = 0x4000  # include/uapi/linux/mount.h
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 2


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """Return an fd of the mount at `path`, or with OPEN_TREE_CLONE of a detached copy of it.

    Raises KernelError ENOENT; EPERM without CAP_SYS_ADMIN; EINVAL for an unbindable mount.
    """
    flags |= OPEN_TREE_CLOEXEC
    return syscall("open_tree", dir_fd, os.fsencode(path), flags, path=path)


def clone(fd: int, *, path: str = "") -> int:
    """Return an fd of a detached copy of the mount that `fd` is the root of, with all below it.

    Raises KernelError EINVAL where it is not attached in the mount namespace of this process.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
    return syscall("open_tree", fd, b"", flags, path=path)


def move_mount(tree_fd: int, target_fd: int, *, path: str = "") -> None:
    """Attach the detached mount `tree_fd` at `target_fd`; both are fds. `path` is for the error."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    syscall("move_mount", tree_fd, b"", target_fd, b"", flags, path=path)


def move_mount_to_path(tree_fd: int, path: str) -> None:
    """Attach the mount `tree_fd` at `path`, a path that nobody hostile can change."""
    target = os.fsencode(path)
    syscall("move_mount", tree_fd, b"", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH, path=path)


def fsopen(fs_type: str) -> int:
    """Return a context to configure a new file system. Raises KernelError ENODEV: unknown type."""
    return syscall("fsopen", os.fsencode(fs_type), FSOPEN_CLOEXEC, path=fs_type)


def fsconfig_flag(context_fd: int, key: str) -> None:
    """Set an option without value. Raises KernelError EINVAL: the file system does not know it."""
    try:
        syscall("fsconfig", context_fd, FSCONFIG_SET_FLAG, os.fsencode(key), None, 0, path=key)
    except KernelError as error:
        error.filename = _complaint(context_fd, key)
        raise


def fsconfig_string(context_fd: int, key: str, value: str) -> None:
    """Set an option to a string. Raises KernelError EINVAL: unknown option or value."""
    shown = f"{key}={value}"
    try:
        syscall(
            "fsconfig",
            context_fd,
            FSCONFIG_SET_STRING,
            os.fsencode(key),
            os.fsencode(value),
            0,
            path=shown,
        )
    except KernelError as error:
        error.filename = _complaint(context_fd, shown)
        raise


def fsconfig_create(context_fd: int) -> None:
    """Create the file system that the context describes."""
    _fsconfig_command(context_fd, FSCONFIG_CMD_CREATE)


def fsconfig_reconfigure(context_fd: int) -> None:
    """Give the file system of a context made by `fspick` its new options."""
    _fsconfig_command(context_fd, FSCONFIG_CMD_RECONFIGURE)


def _fsconfig_command(context_fd: int, command: int) -> None:
    try:
        syscall("fsconfig", context_fd, command, None, None, 0)
    except KernelError as error:
        error.filename = _complaint(context_fd, "")
        raise


def fspick(fd: int, *, path: str = "") -> int:
    """Return a context to reconfigure the file system of the mount that `fd` is the root of.

    Raises KernelError EPERM where the file system belongs to an outer user namespace.
    """
    return syscall("fspick", fd, b"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH, path=path)


def _complaint(context_fd: int, shown: str) -> str:
    # fsopen(2): the context can be read for the kernel's own message, "e tmpfs: Bad value ...".
    try:
        text = os.read(context_fd, 1024).decode(errors="replace").strip()
    except OSError:
        # ENODATA: the file system said nothing.
        return shown
    return f"{shown} [{text[2:]}]" if shown else f"[{text[2:]}]"


def fsmount(context_fd: int, attributes: int) -> int:
    """Return an fd of the new, detached mount with MOUNT_ATTR_* `attributes`."""
    return syscall("fsmount", context_fd, FSMOUNT_CLOEXEC, attributes)


def mount_setattr(
    fd: int,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    recursive: bool = False,
    path: str = "",
) -> None:
    """Change flags (MOUNT_ATTR_*) or propagation (MS_*) of the mount that `fd` is the root of.

    Raises KernelError EPERM where a flag is locked by an outer user namespace; EINVAL if `fd` is
    not the root of a mount.
    """
    attr = _MountAttr(attr_set, attr_clr, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall("mount_setattr", fd, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr), path=path)


def map_ids(fd: int, user_namespace_fd: int, *, recursive: bool, path: str = "") -> None:
    """Map the ids of the files below the detached mount `fd` as the user namespace does.

    Raises KernelError EINVAL: the file system knows no id mapping, or the mount is attached;
    EPERM: it is mapped already, or its file system belongs to an outer user namespace.
    """
    attr = _MountAttr(MOUNT_ATTR_IDMAP, 0, 0, user_namespace_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall("mount_setattr", fd, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr), path=path)


def pivot_root_here() -> None:
    """Make the working directory the root, with the old root stacked on it. See pivot_root(2)."""
    check(libc.pivot_root(b".", b"."), "pivot_root", ".")


def umount_detach(path: str) -> None:
    """Detach the mount at `path`, a path that nobody hostile can change. See umount2(2)."""
    check(libc.umount2(os.fsencode(path), MNT_DETACH), "umount2", path)


def umount_fd(proc_fd: int, fd: int, *, path: str = "") -> None:
    """Detach the mount that `fd` is the root of; `proc_fd` is a procfs that is to be trusted.

    umount2(2) takes a path only. Changes the working directory to `proc_fd`.
    Raises KernelError EINVAL: nothing is mounted there, or it is locked.
    """
    os.fchdir(proc_fd)
    check(libc.umount2(f"self/fd/{fd}".encode(), MNT_DETACH), "umount2", path)


def mount_at_fd(source: str, target_fd: int, fs_type: str, data: str) -> None:
    """Mount by mount(2), whose data may be longer than a value of fsconfig(2): up to one page.

    `target_fd` is reached through /proc/self/fd, so /proc must still be the runtime's own.
    """
    target = f"/proc/self/fd/{target_fd}"
    result = libc.mount(
        os.fsencode(source), target.encode(), os.fsencode(fs_type), ctypes.c_ulong(0),
        os.fsencode(data),
    )  # fmt: skip
    check(result, "mount", data)
