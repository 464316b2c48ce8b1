"""Read an upper directory. What is in it was made by whoever ran in the container.

Everything is reached by O_PATH fds from the fd of its directory: nothing is followed, and only
regular files are ever opened. The container may run meanwhile: then the entries are not of one
moment, but nothing outside is read. Neither the stack nor the number of fds grows with the depth.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import HostError, InputError
from aisbx_runtime.sandbox.tree import attributes
from aisbx_runtime.sandbox.tree.attributes import Overlay
from aisbx_runtime.sandbox.tree.content import digest_of, open_content
from aisbx_runtime.sandbox.tree.entry import ROOT, Entry, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.sandbox.tree.mapping import Mapping

    # O_PATH fd of a regular file and its stat -> digest, or what the caller wants there; size
    Content = Callable[[int, os.stat_result], tuple[str, int]]

# How many directories are open at once; those above are opened again by `..`.
OPEN_DIRECTORIES = 64
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may leave that is still kept: it could make millions of empty files.

    text_bytes: of all names and extended attributes. hole_bytes: of sparse files, which cost the
    container nothing and the reader hours.
    """

    entries: int = 2_000_000
    path_bytes: int = 65_535
    text_bytes: int = 512 << 20
    hole_bytes: int = 64 << 30


DEFAULT_LIMITS = Limits()
DEFAULT_OVERLAY = Overlay()


def walk(
    directory_fd: int,
    mapping: Mapping | None = None,
    digest: bool = False,  # noqa: FBT001, FBT002 - how the callers agreed to call it
    *,
    overlay: Overlay = DEFAULT_OVERLAY,
    content: Content | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Entry]:
    """Return the entries of an upper directory in the order of `order`, the root first.

    digest: read the files as well. content: called instead for each file by its first name, in
    order, with its O_PATH fd and its stat; gives digest and size of the entry.
    Raises InputError for what cannot be kept: more than the limits allow, ids outside the mapping,
    files that the overlay only refers to. HostError where reading fails, or where the tree changes
    so that the way back up is lost.
    """
    if content is None and digest:
        content = _hashed
    walker = _Walker(mapping, overlay, content, limits)
    try:
        walker.read_below(directory_fd)
    except OSError as error:
        raise HostError(
            "cannot read what the container changed",
            where=repr(walker.path),
            why=errno.errorcode.get(error.errno or 0, str(error)),
            hint="root can; or let its owner read it in the sandbox"
            if error.errno == errno.EACCES
            else "",
        ) from error
    except InputError as error:
        error.where = error.where or repr(walker.path)
        raise
    return walker.entries


def _hashed(path_fd: int, found: os.stat_result) -> tuple[str, int]:
    fd = open_content(path_fd)
    try:
        return digest_of(fd, found.st_size)
    finally:
        os.close(fd)


def entry_of(
    path_fd: int,
    found: os.stat_result,
    path: str,
    mapping: Mapping | None,
    overlay: Overlay,
    content: Content,
) -> Entry:
    """Return the entry of the file at an O_PATH fd, by its first name."""
    kind = _KINDS[stat.S_IFMT(found.st_mode)]
    if kind == "character" and found.st_rdev == 0:
        return Entry(path, "whiteout")
    said = attributes.read(path_fd, overlay, mapping)
    if kind == "file" and said.whiteout and found.st_size == 0:
        return Entry(path, "whiteout")
    uid, gid = found.st_uid, found.st_gid
    if mapping is not None:
        uid, gid = mapping.inside(uid, gid)
    digest, size = content(path_fd, found) if kind == "file" else ("", 0)
    device = found.st_rdev if kind in {"character", "block"} else 0
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(found.st_mode),
        uid=uid,
        gid=gid,
        mtime_ns=found.st_mtime_ns,
        size=size,
        digest=digest,
        # An empty path is the link at the fd itself, readlinkat(2).
        target=text_of(os.readlink(b"", dir_fd=path_fd)) if kind == "symlink" else "",
        device=(os.major(device), os.minor(device)),
        opaque=said.opaque and kind == "directory",
        xattrs=said.rest,
    )


class _Directory:
    """One on the way down: names are those to come, the last one first; fd is -1 while closed."""

    __slots__ = ("fd", "identity", "names", "prefix")

    def __init__(self, fd: int, identity: tuple[int, int], prefix: str, names: list[bytes]) -> None:
        self.fd = fd
        self.identity = identity
        self.prefix = prefix
        self.names = names


class _Walker:
    def __init__(
        self, mapping: Mapping | None, overlay: Overlay, content: Content | None, limits: Limits
    ) -> None:
        self.entries: list[Entry] = []
        self.path = ROOT
        self._mapping = mapping
        self._overlay = overlay
        self._content = content
        self._limits = limits
        self._device = 0
        self._coming = 0
        self._text_bytes = 0
        self._hole_bytes = 0
        self._first_names: dict[int, str] = {}
        self._way: list[_Directory] = []

    def read_below(self, directory_fd: int) -> None:
        try:
            self._look(directory_fd, b".", "")
            while self._way:
                directory = self._way[-1]
                if not directory.names:
                    self._leave()
                    continue
                name = directory.names.pop()
                self.path = directory.prefix + text_of(name)
                self._look(directory.fd, name, f"{self.path}/")
        finally:
            for directory in self._way:
                if directory.fd >= 0:
                    os.close(directory.fd)

    def _look(self, parent_fd: int, name: bytes, prefix: str) -> None:
        try:
            path_fd = os.open(name, _PATH, dir_fd=parent_fd)
        except FileNotFoundError:
            # The container runs and has removed it.
            return
        try:
            if name == b".":
                self._device = os.fstat(path_fd).st_dev
            self._visit(path_fd, prefix)
        finally:
            os.close(path_fd)

    def _visit(self, path_fd: int, prefix: str) -> None:
        found = os.fstat(path_fd)
        if found.st_dev != self._device:
            raise InputError(
                "another filesystem is mounted in the upper directory", hint="unmount it"
            )
        entry = self._entry(path_fd, found)
        self._count(entry)
        self.entries.append(entry)
        if entry.kind == "directory":
            self._enter(path_fd, found, prefix)

    def _entry(self, path_fd: int, found: os.stat_result) -> Entry:
        def content(path_fd: int, found: os.stat_result) -> tuple[str, int]:
            self._count_holes(found)
            return self._content(path_fd, found) if self._content else ("", found.st_size)

        if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
            first = self._first_names.get(found.st_ino)
            if first is not None:
                return Entry(self.path, "hardlink", target=first)
        entry = entry_of(path_fd, found, self.path, self._mapping, self._overlay, content)
        # Overlay makes all its whiteouts as names of one file: no hardlinks.
        if entry.kind not in {"directory", "whiteout"} and found.st_nlink > 1:
            self._first_names[found.st_ino] = self.path
        return entry

    def _enter(self, path_fd: int, found: os.stat_result, prefix: str) -> None:
        fd = os.open(b".", _LIST, dir_fd=path_fd)
        directory = _Directory(fd, (found.st_dev, found.st_ino), prefix, [])
        self._way.append(directory)
        with os.scandir(fd) as children:
            for child in children:
                directory.names.append(os.fsencode(child.name))
                self._coming += 1
                if self._coming > self._limits.entries:
                    self._refuse(f"more than {self._limits.entries} files")
        directory.names.sort(reverse=True)
        if len(self._way) > OPEN_DIRECTORIES:
            above = self._way[-1 - OPEN_DIRECTORIES]
            os.close(above.fd)
            above.fd = -1

    def _leave(self) -> None:
        below = self._way.pop()
        try:
            above = self._way[-1] if self._way else None
            if above is not None and above.fd < 0:
                fd = os.open(b"..", _LIST, dir_fd=below.fd)
                above.fd = fd
                found = os.fstat(fd)
                if (found.st_dev, found.st_ino) != above.identity:
                    raise HostError(
                        "a directory was moved while it was read",
                        where=repr(below.prefix),
                        hint="pause or stop the container first",
                    )
        finally:
            os.close(below.fd)

    def _count(self, entry: Entry) -> None:
        length = len(entry.path)
        if length > self._limits.path_bytes:
            self._refuse(f"a path of more than {self._limits.path_bytes} bytes")
        self._text_bytes += length + len(entry.target)
        self._text_bytes += sum(len(name) + len(value) for name, value in entry.xattrs)
        if self._text_bytes > self._limits.text_bytes:
            self._refuse(f"more than {self._limits.text_bytes} bytes of names and attributes")

    def _count_holes(self, found: os.stat_result) -> None:
        self._hole_bytes += max(0, found.st_size - 512 * found.st_blocks)
        if self._hole_bytes > self._limits.hole_bytes:
            self._refuse(f"sparse files with holes of more than {self._limits.hole_bytes} bytes")

    def _refuse(self, why: str) -> None:
        self.path = self.path if len(self.path) < 200 else f"{self.path[:200]}..."
        raise InputError(
            "the container's changes are too large to be kept",
            why=why,
            hint="remove what is not needed in the container",
        )
