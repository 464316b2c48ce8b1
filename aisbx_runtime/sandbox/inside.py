"""Looking into a rootfs, which is hostile: its links lead nowhere outside, and a FIFO is not read.

Every name is opened by the fd of its directory with O_NOFOLLOW; links are followed here, as chroot
would. A cached rootfs is never written to, so what is found stays true.
"""

from __future__ import annotations

import errno
import os
import stat

from aisbx_runtime.sandbox.errors import InputError

MAX_FILE_BYTES = 1 << 20
# path_resolution(7): as many links as the kernel follows.
_MOST_LINKS = 40
_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def real_path(rootfs: str, path: str) -> str | None:
    """Return the path below rootfs without links that `path` means inside; None: nothing is there.

    Raises InputError where links lead in a circle, or through what is no directory.
    """
    fd, found = _opened(rootfs, path)
    if fd < 0:
        return None
    os.close(fd)
    return found


def is_directory(rootfs: str, path: str) -> bool:
    """Tell whether path means a directory inside."""
    fd, _ = _opened(rootfs, path)
    if fd < 0:
        return False
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def read_file(rootfs: str, path: str, *, hint: str = "") -> bytes | None:
    """Return what a regular file holds, or None where there is none.

    Raises InputError for what is no regular file, or larger than MAX_FILE_BYTES.
    """
    path_fd, _ = _opened(rootfs, path)
    if path_fd < 0:
        return None
    try:
        found = os.fstat(path_fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            regular = stat.S_ISREG(found.st_mode)
            raise InputError(
                f"{path} of the image is not what it should be",
                where=f"{rootfs}{path}",
                why="larger than 1 MiB" if regular else "no regular file",
                hint=hint,
            )
        # The very inode that was looked at: proc(5), /proc/PID/fd.
        fd = os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(path_fd)
    with open(fd, "rb") as file:
        return file.read(MAX_FILE_BYTES)


def _opened(rootfs: str, path: str) -> tuple[int, str]:
    """Return an O_PATH fd, and the path without links; -1 where nothing is there."""
    fds = [os.open(rootfs, _FLAGS | os.O_DIRECTORY)]
    names: list[str] = []
    parts = _parts(path)
    links = 0
    try:
        while parts:
            part = parts.pop()
            if part == "..":
                _leave(fds, names, 1)
                continue
            fd = _step(rootfs, path, part, fds[-1])
            if fd < 0:
                return -1, ""
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                fds.append(fd)
                names.append(part)
                continue
            # readlinkat(2) of an O_PATH fd, by an empty name.
            target = os.readlink("", dir_fd=fd)
            os.close(fd)
            links += 1
            if links > _MOST_LINKS:
                raise _wrong(rootfs, path, "ELOOP")
            _leave(fds, names, len(names) if target.startswith("/") else 0)
            parts += _parts(target)
        return fds.pop(), "/" + "/".join(names)
    finally:
        for fd in fds:
            os.close(fd)


def _step(rootfs: str, path: str, part: str, parent_fd: int) -> int:
    try:
        return os.open(part, _FLAGS, dir_fd=parent_fd)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise _wrong(rootfs, path, errno.errorcode.get(error.errno or 0, "")) from error


def _leave(fds: list[int], names: list[str], count: int) -> None:
    """Go up so many directories, never above the root."""
    for _ in range(min(count, len(names))):
        os.close(fds.pop())
        names.pop()


def _parts(path: str) -> list[str]:
    """Return the names of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def _wrong(rootfs: str, path: str, why: str) -> InputError:
    return InputError(f"{path} of the image leads nowhere", where=f"{rootfs}{path}", why=why)
