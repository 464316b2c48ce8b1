"""Paths inside a root that somebody hostile may be changing: openat2 and what goes with it.

See openat2(2), Linux 5.6. Every path of the container is opened here, never joined as a string.
"""

from __future__ import annotations

import errno
import time

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, kernel_error
from aisbx_runtime.oci.kernel.call import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
else:
    from aisbx_runtime.oci.kernel import c as ctypes

RESOLVE_NO_XDEV = 0x01  # include/uapi/linux/openat2.h
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PROC_SUPER_MAGIC = 0x9FA0  # include/uapi/linux/magic.h
DEVPTS_SUPER_MAGIC = 0x1CD1
CGROUP2_SUPER_MAGIC = 0x63677270

_RETRY_S = 0.05


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int) -> int:
    """Open `path` below `dir_fd` as openat2(2) resolves it; the fd is close-on-exec.

    Raises KernelError: ENOENT; ELOOP for a magic link, or a symlink where none is allowed;
    EXDEV where the path leaves the root or the mount.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    deadline = 0.0
    while True:
        try:
            return syscall(
                "openat2", dir_fd, name, ctypes.byref(how), ctypes.sizeof(how), path=path
            )
        except KernelError as error:
            # openat2(2): EAGAIN when a rename raced with "..": the worst seen was 0.8 ms of it.
            if error.errno != errno.EAGAIN:
                raise
            deadline = deadline or time.monotonic() + _RETRY_S
            if time.monotonic() > deadline:
                raise


def open_in_root(root_fd: int, path: str, flags: int = os.O_PATH, *, mode: int = 0) -> int:
    """Open `path` as a process whose root is `root_fd` would see it; magic links are refused."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    return openat2(root_fd, path, flags, mode=mode, resolve=resolve)


def make_dirs_in_root(root_fd: int, path: str, mode: int = 0o755, *, links: int = 40) -> int:
    """Open the directory `path` inside the root, making what is missing; return an O_PATH fd.

    Each component is made below an fd that openat2 gave (CVE-2024-45310: never by a joined path).
    A symlink to nothing (an image's /var/run without /run) has its target made, inside the root;
    `links` of them are followed at most. Raises KernelError ENOTDIR where a component is a file.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    names = [name for name in path.split("/") if name not in {"", "."}]
    done = ""
    parent_fd = os.dup(root_fd)
    try:
        for name in names:
            done = f"{done}/{name}"
            try:
                next_fd = open_in_root(root_fd, done, os.O_PATH | os.O_DIRECTORY)
            except KernelError as error:
                if error.errno != errno.ENOENT or name == "..":
                    raise
                make_dir(parent_fd, name, mode, path=done)
                next_fd = _open_made(root_fd, parent_fd, name, done, links)
            os.close(parent_fd)
            parent_fd = next_fd
    except BaseException:
        os.close(parent_fd)
        raise
    return parent_fd


def _open_made(root_fd: int, parent_fd: int, name: str, path: str, links: int) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return openat2(parent_fd, name, flags, resolve=RESOLVE_BENEATH)
    except KernelError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP} or not links:
            raise
        try:
            target = os.readlink(name, dir_fd=parent_fd)
        except OSError:
            # A file: no directory can be there.
            raise error from None
    if not target.startswith("/"):
        target = f"{split(path)[0]}/{target}"
    return make_dirs_in_root(root_fd, target, links=links - 1)


def make_dir(dir_fd: int, name: str, mode: int, *, path: str) -> None:
    """Make the directory `name` in `dir_fd`; one that is there already is fine. See mkdirat(2)."""
    try:
        os.mkdir(name, mode, dir_fd=dir_fd)
    except FileExistsError:
        # A dangling symlink, or somebody was faster: what is there is judged when it is opened.
        return
    except OSError as error:
        raise kernel_error(error.errno or 0, "mkdirat", path) from None


def split(path: str) -> tuple[str, str]:
    """Return directory and last name of a container path, without trailing slashes."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name


def make_file_in_root(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Open `path` inside the root as O_PATH, making an empty file and its parents when missing."""
    try:
        return open_in_root(root_fd, path)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    return make_last_in_root(root_fd, path, mode=mode)


def make_last_in_root(root_fd: int, path: str, *, mode: int = 0o644) -> int:
    """Open the last name of `path` itself, a symlink too, as O_PATH; a missing one gets a file."""
    parent, name = split(path)
    parent_fd = make_dirs_in_root(root_fd, parent)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
        try:
            os.close(openat2(parent_fd, name, flags, mode=mode, resolve=RESOLVE_BENEATH))
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
        return openat2(parent_fd, name, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH)
    finally:
        os.close(parent_fd)


def fs_type_of(fd: int) -> int:
    """Return the magic number of the file system that `fd` is on. See fstatfs(2)."""
    # struct statfs is 120 bytes on 64-bit Linux, f_type its first long.
    buffer = (ctypes.c_long * 32)()
    check(libc.fstatfs(fd, buffer), "fstatfs")
    return buffer[0]


def current_directory_is_reachable() -> bool:
    """Tell whether the working directory lies inside this process's root (CVE-2024-21626).

    getcwd(2) names a directory outside "(unreachable)/...", which glibc turns into ENOENT.
    """
    try:
        return os.getcwd().startswith("/")
    except FileNotFoundError:
        return False


def write_once(path: str, text: str, syscall: str = "write") -> None:
    """Write to a file of the kernel's in one write(2). Raises KernelError, named `syscall`."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise kernel_error(error.errno or 0, syscall, path) from None
