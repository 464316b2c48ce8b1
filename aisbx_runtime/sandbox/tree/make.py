"""Make an upper directory from entries, in an empty directory that nobody else writes to."""

from __future__ import annotations

import errno
import io
import os
import stat

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.tree import attributes
from aisbx_runtime.sandbox.tree.content import copy
from aisbx_runtime.sandbox.tree.entry import ROOT, Entry, order, raw_of
from aisbx_runtime.sandbox.tree.walk import DEFAULT_OVERLAY, OPEN_DIRECTORIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

    from aisbx_runtime.sandbox.tree.attributes import Overlay
    from aisbx_runtime.sandbox.tree.mapping import Mapping

    # What was made of an entry and, where it is a regular file, its stat at the end.
    Made = Callable[[Entry, os.stat_result], None]

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "character": stat.S_IFCHR,
    "block": stat.S_IFBLK,
}


def make(
    directory_fd: int,
    entries: Iterable[Entry],
    open_content: Callable[[Entry], BinaryIO],
    mapping: Mapping | None = None,
    *,
    overlay: Overlay = DEFAULT_OVERLAY,
    made: Made | None = None,
) -> None:
    """Fill the empty directory at an fd; `.` gives it its own mode, owner, time and attributes.

    entries: in the order of `order`, as `walk` gives them. open_content: called for each file in
    turn; what it gives is closed here. made: told of each file when it is whole.
    Nothing is flushed. Raises InputError for entries that no tree has (out of order, without their
    directory, `..`), HostError where the filesystem refuses.
    """
    maker = _Maker(directory_fd, open_content, mapping, overlay, made)
    entry = Entry(ROOT, "directory")
    try:
        for entry in entries:
            maker.add(entry)
        maker.finish()
    except OSError as error:
        raise HostError(
            "cannot make a file that the container had",
            where=repr(entry.path),
            why=errno.errorcode.get(error.errno or 0, str(error)),
            hint="make room in the store" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "",
        ) from error
    finally:
        maker.close()


class _Directory:
    """A directory that is being filled; fd is -1 while closed."""

    __slots__ = ("entry", "fd")

    def __init__(self, fd: int, entry: Entry | None) -> None:
        self.fd = fd
        self.entry = entry


class _Maker:
    def __init__(
        self,
        directory_fd: int,
        open_content: Callable[[Entry], BinaryIO],
        mapping: Mapping | None,
        overlay: Overlay,
        made: Made | None,
    ) -> None:
        self._open_content = open_content
        self._mapping = mapping
        self._overlay = overlay
        self._made = made
        self._top_fd = directory_fd
        self._way = [_Directory(os.open(b".", _LIST, dir_fd=directory_fd), None)]
        # Of the way from the root to here.
        self._names: list[bytes] = []
        self._last = b""
        # Of what may have further names: its path, and whether it can.
        self._linkable: set[str] = set()

    def add(self, entry: Entry) -> None:
        if entry.path == ROOT:
            if self._last or self._way[0].entry is not None or entry.kind != "directory":
                raise InputError("the root is the first entry and a directory", where=ROOT)
            self._way[0].entry = entry
            return
        names = _checked(entry)
        key = order(entry.path)
        if key <= self._last:
            raise InputError("an entry is out of order, or there twice", where=repr(entry.path))
        self._last = key
        while self._names != names[: len(self._names)]:
            self._leave()
        if len(self._names) != len(names) - 1:
            raise InputError("an entry's directory is missing", where=repr(entry.path))
        self._make(entry, names[-1], self._way[-1].fd)

    def finish(self) -> None:
        while self._way:
            self._leave()

    def close(self) -> None:
        for directory in self._way:
            if directory.fd >= 0:
                os.close(directory.fd)
        self._way.clear()

    def _make(self, entry: Entry, name: bytes, parent_fd: int) -> None:
        if entry.kind == "directory":
            # Open to us until it is left: its own mode may forbid to write in it.
            os.mkdir(name, 0o700, dir_fd=parent_fd)
            self._enter(name, entry, parent_fd)
            return
        if entry.kind == "whiteout":
            # Everyone may make this device, mknod(2), Linux 5.8.
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent_fd)
            return
        if entry.kind == "hardlink":
            self._link(entry, name, parent_fd)
            return
        if entry.kind == "file":
            self._write(entry, name, parent_fd)
        elif entry.kind == "symlink":
            os.symlink(raw_of(entry.target), name, dir_fd=parent_fd)
        else:
            device = os.makedev(*entry.device) if any(entry.device) else 0
            os.mknod(name, _NODES[entry.kind] | 0o600, device, dir_fd=parent_fd)
        self._linkable.add(entry.path)
        path_fd = os.open(name, _PATH, dir_fd=parent_fd)
        try:
            self._dress(entry, path_fd)
            if entry.kind == "file" and self._made is not None:
                self._made(entry, os.fstat(path_fd))
        finally:
            os.close(path_fd)

    def _write(self, entry: Entry, name: bytes, parent_fd: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent_fd)
        try:
            with self._open_content(entry) as content:
                count = _filled(content, fd, entry.size)
        finally:
            os.close(fd)
        if count != entry.size:
            raise InputError(
                f"the content of a file has {count} bytes, its entry says {entry.size}",
                where=repr(entry.path),
            )

    def _link(self, entry: Entry, name: bytes, parent_fd: int) -> None:
        # All on the way is ours and a directory, as the target was made here.
        if entry.target not in self._linkable:
            raise InputError("a hardlink's first name is missing", where=repr(entry.path))
        fd = os.dup(self._top_fd)
        try:
            for part in raw_of(entry.target).split(b"/"):
                next_fd = os.open(part, _PATH, dir_fd=fd)
                os.close(fd)
                fd = next_fd
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent_fd, follow_symlinks=True)
        finally:
            os.close(fd)

    def _enter(self, name: bytes, entry: Entry, parent_fd: int) -> None:
        self._way.append(_Directory(os.open(name, _LIST, dir_fd=parent_fd), entry))
        self._names.append(name)
        if len(self._way) > OPEN_DIRECTORIES:
            above = self._way[-1 - OPEN_DIRECTORIES]
            os.close(above.fd)
            above.fd = -1

    def _leave(self) -> None:
        """Give a directory that is whole its mode and its times, and go up."""
        below = self._way.pop()
        if self._names:
            self._names.pop()
        try:
            if self._way and self._way[-1].fd < 0:
                self._way[-1].fd = os.open(b"..", _LIST, dir_fd=below.fd)
            if below.entry is not None:
                self._dress(below.entry, below.fd)
        finally:
            os.close(below.fd)

    def _dress(self, entry: Entry, fd: int) -> None:
        """Give a file its owner, attributes, mode and time, in the order that keeps them."""
        path = f"/proc/self/fd/{fd}"
        uid, gid = entry.uid, entry.gid
        if self._mapping is not None:
            uid, gid = self._mapping.outside(uid, gid)
        # First: chown(2) takes set-id bits and file capabilities away.
        os.chown(path, uid, gid)
        attributes.write(fd, entry.xattrs, self._overlay, self._mapping, opaque=entry.opaque)
        if entry.kind != "symlink":
            os.chmod(path, entry.mode)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def _checked(entry: Entry) -> list[bytes]:
    """Return the names of a path. Raises InputError for what is no entry of a tree."""
    known = {"directory", "file", "hardlink", "symlink", "whiteout", *_NODES}
    try:
        names = raw_of(entry.path).split(b"/")
    except UnicodeEncodeError:
        names = [b""]
    if any(name in {b"", b".", b".."} or b"\0" in name or len(name) > 255 for name in names):
        raise InputError("not a path in a tree", where=repr(entry.path))
    if entry.kind not in known or entry.mode & ~0o7777:
        raise InputError(
            f"not an entry of a tree: kind {entry.kind!r}, mode {entry.mode:o}",
            where=repr(entry.path),
        )
    return names


def _filled(content: BinaryIO, fd: int, size: int) -> int:
    """Copy up to size bytes, by the kernel where they come from a file that is at its start."""
    # Not whatever has a fileno: that of a GzipFile is the compressed file's.
    raw: object = getattr(content, "raw", content)
    if not isinstance(raw, io.FileIO) or content.tell() != 0:
        return _written(content, fd, size)
    if stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return copy(raw.fileno(), fd, size)
    return _written(content, fd, size)


def _written(content: BinaryIO, fd: int, size: int) -> int:
    done = 0
    while done < size and (chunk := content.read(min(1 << 20, size - done))):
        part = memoryview(chunk)
        while part:
            written = os.write(fd, part)
            part = part[written:]
            done += written
    return done
