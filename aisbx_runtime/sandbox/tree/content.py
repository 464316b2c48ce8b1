"""The content of files: hashed, and copied by the cheapest way that the filesystem has."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

# linux/fs.h, see ioctl_ficlone(2).
_FICLONE = 0x40049409
_CHUNK = 1 << 20


def open_content(path_fd: int) -> int:
    """Return an fd to read the regular file at an O_PATH fd: the same inode, whatever its name is.

    The caller has seen that it is regular: opening a fifo or a device would wait or act.
    """
    return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)


def digest_of(fd: int, size: int) -> tuple[str, int]:
    """Return `sha256:HEX` of the first `size` bytes of a file, and how many there are."""
    hashed = hashlib.sha256()
    done = 0
    buffer = memoryview(bytearray(min(_CHUNK, size) or 1))
    while done < size:
        # Up to the size that was seen: a writer could go on for ever.
        count = os.preadv(fd, [buffer[: min(len(buffer), size - done)]], done)
        if count == 0:
            break
        hashed.update(buffer[:count])
        done += count
    return f"sha256:{hashed.hexdigest()}", done


def copy(source_fd: int, target_fd: int, size: int) -> int:
    """Copy up to `size` bytes to an empty file, holes as holes; return how many there were.

    Shares the blocks where the filesystem can (btrfs, xfs), else the kernel copies.
    """
    if size == 0:
        return 0
    if _cloned(source_fd, target_fd):
        found = os.fstat(target_fd).st_size
        if found > size:
            os.ftruncate(target_fd, size)
        return min(found, size)
    for start, end in _extents(source_fd, size):
        _copy_range(source_fd, target_fd, start, end)
    found = min(os.fstat(source_fd).st_size, size)
    os.ftruncate(target_fd, found)
    return found


def _cloned(source_fd: int, target_fd: int) -> bool:
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY}:
            return False
        raise
    return True


def _extents(fd: int, size: int) -> Generator[tuple[int, int]]:
    """Yield where a file has data, see lseek(2), SEEK_DATA."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            # No data from there on; or the file became shorter.
            if error.errno == errno.ENXIO:
                return
            raise
        if start < size:
            yield start, min(end, size)


def _copy_range(source_fd: int, target_fd: int, start: int, end: int) -> None:
    while start < end:
        try:
            count = os.copy_file_range(source_fd, target_fd, end - start, start, start)
        except OSError as error:
            # Two filesystems, or one that cannot.
            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            count = os.pwrite(
                target_fd, os.pread(source_fd, min(_CHUNK, end - start), start), start
            )
        if count == 0:
            return
        start += count
