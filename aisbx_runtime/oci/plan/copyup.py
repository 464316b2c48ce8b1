"""Copying a directory of the image into the tmpfs that will cover it (`tmpcopyup`).

Everything is opened relative to an fd and never through a symlink: the image is hostile.
"""

from __future__ import annotations

import stat

from aisbx_runtime.oci import system as os

_COPY_BYTES = 1 << 20
_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_directory(source_fd: int, target_fd: int) -> None:
    """Copy the content, modes, owners and times of one directory into another.

    Both are fds of directories, O_PATH is enough. Device nodes, FIFOs and sockets are left out.
    """
    from_fd = os.open(".", _DIR_FLAGS, dir_fd=source_fd)
    to_fd = os.open(".", _DIR_FLAGS, dir_fd=target_fd)
    try:
        for name in os.listdir(from_fd):
            _copy_entry(name, from_fd, to_fd)
        _copy_attributes(os.fstat(from_fd), to_fd)
    finally:
        os.close(from_fd)
        os.close(to_fd)


def _copy_entry(name: str, from_fd: int, to_fd: int) -> None:
    found = os.stat(name, dir_fd=from_fd, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(name, 0o700, dir_fd=to_fd)
        inner_from = os.open(name, _DIR_FLAGS, dir_fd=from_fd)
        inner_to = os.open(name, _DIR_FLAGS, dir_fd=to_fd)
        try:
            copy_directory(inner_from, inner_to)
        finally:
            os.close(inner_from)
            os.close(inner_to)
    elif stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=from_fd), name, dir_fd=to_fd)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=to_fd, follow_symlinks=False)
    elif stat.S_ISREG(found.st_mode):
        _copy_file(name, from_fd, to_fd)


def _copy_file(name: str, from_fd: int, to_fd: int) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    source = os.open(name, flags, dir_fd=from_fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(name, flags, 0o600, dir_fd=to_fd)
    try:
        while os.sendfile(target, source, None, _COPY_BYTES):
            pass
        _copy_attributes(os.fstat(source), target)
    finally:
        os.close(source)
        os.close(target)


def _copy_attributes(found: os.stat_result, fd: int) -> None:
    # The owner first: chown(2) clears set-user-id.
    os.fchown(fd, found.st_uid, found.st_gid)
    os.fchmod(fd, stat.S_IMODE(found.st_mode))
    os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
