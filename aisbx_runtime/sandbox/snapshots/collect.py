"""Read an upper directory into a workplace: what is not known yet is copied, and hashed later.

While a container stands still only the copy is made; by the kernel, and where the filesystem can
by sharing blocks.
"""

from __future__ import annotations

import dataclasses
import errno
import os

from aisbx_runtime.sandbox.errors import HostError
from aisbx_runtime.sandbox.snapshots import known
from aisbx_runtime.sandbox.tree import walk
from aisbx_runtime.sandbox.tree.content import copy, digest_of, open_content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.snapshots.known import Identity
    from aisbx_runtime.sandbox.snapshots.shelf import Shelf
    from aisbx_runtime.sandbox.tree import Entry, Mapping, Overlay
    from aisbx_runtime.sandbox.tree.walk import Content

_COPY = "copy:"
# What takes long enough to be told of.
LONG_BYTES = 64 << 20


class Collection:
    """Copies of one upper directory's files in a workplace."""

    def __init__(self, shelf: Shelf, workplace: str, digests: dict[Identity, str]) -> None:
        self.entries: list[Entry] = []
        self.copied_bytes = 0
        self._shelf = shelf
        self._workplace = workplace
        self._digests = digests
        self._copies: dict[Identity, str] = {}
        self._count = 0
        self._moment_ns = 0
        self._seen: dict[Identity, str] = {}
        # Of the copies, by their names; of the entries' files, once they are hashed.
        self._hashed: dict[str, str] = {}

    def read(self, upper: str, mapping: Mapping | None, overlay: Overlay, moment_ns: int) -> None:
        """Walk the directory; files that were copied by an earlier call stay copied.

        moment_ns: `known.now_ns()` before the caller saw that no process writes by a mapping.
        """
        self._moment_ns = moment_ns
        self._seen = {}
        self.entries = self._walk(upper, mapping, overlay, self._content)

    def unknown_bytes(self, upper: str, mapping: Mapping | None, overlay: Overlay) -> int:
        """Return how much would have to be copied now."""
        total = 0

        def content(_: int, found: os.stat_result) -> tuple[str, int]:
            nonlocal total
            if known.identity_of(found) not in self._digests:
                total += found.st_size
            return "", found.st_size

        self._walk(upper, mapping, overlay, content)
        return total

    def _walk(
        self, upper: str, mapping: Mapping | None, overlay: Overlay, content: Content
    ) -> list[Entry]:
        fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return walk(fd, mapping, overlay=overlay, content=content)
        finally:
            os.close(fd)

    def _content(self, path_fd: int, found: os.stat_result) -> tuple[str, int]:
        identity = known.identity_of(found)
        digest = self._digests.get(identity, "")
        if digest and self._shelf.has_file(digest):
            self._seen[identity] = digest
            return digest, found.st_size
        name = self._copies.get(identity, "")
        if not name:
            name, size = self._copied(path_fd, found)
            if size != found.st_size or known.identity_of(os.fstat(path_fd)) != identity:
                # It changes just now: nothing to rely on later.
                return name, size
            if known.settled(found, self._moment_ns):
                self._copies[identity] = name
        if known.settled(found, self._moment_ns):
            self._seen[identity] = name
        return name, found.st_size

    def _copied(self, path_fd: int, found: os.stat_result) -> tuple[str, int]:
        self._count += 1
        name = f"{_COPY}{self._count}"
        source_fd = open_content(path_fd)
        try:
            size = self._copy(source_fd, found.st_size, self._path(name))
        finally:
            os.close(source_fd)
        self.copied_bytes += size
        return name, size

    def _copy(self, source_fd: int, size: int, target: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            target_fd = os.open(target, flags, 0o600)
            try:
                return copy(source_fd, target_fd, size)
            finally:
                os.close(target_fd)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise HostError(
                "the store has no room for the snapshot",
                where=self._workplace,
                why=errno.errorcode[error.errno],
                hint="make room there; aisbx snapshot gc removes what is not needed",
            ) from error

    def hash(self, progress: Progress) -> None:
        """Put the digests of the copies into the entries."""
        wanted = [entry for entry in self.entries if entry.digest.startswith(_COPY)]
        total = sum(entry.size for entry in wanted)
        long = total > LONG_BYTES
        if long:
            progress.step("hashing what has changed", total)
        done = 0
        for entry in wanted:
            if entry.digest not in self._hashed:
                self._hashed[entry.digest] = self._digest(entry)
            done += entry.size
            if long:
                progress.advance(done)
        self.entries = [
            dataclasses.replace(entry, digest=self._hashed.get(entry.digest, entry.digest))
            for entry in self.entries
        ]

    def _digest(self, entry: Entry) -> str:
        fd = os.open(self._path(entry.digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            digest, size = digest_of(fd, entry.size)
        finally:
            os.close(fd)
        if size != entry.size:
            raise HostError("a copy in the store has lost its end", where=self._path(entry.digest))
        return digest

    def files(self) -> list[tuple[str, str]]:
        """Return path and digest of each copy that an entry needs, one for a digest."""
        made = {digest: self._path(name) for name, digest in self._hashed.items()}
        return [(path, digest) for digest, path in made.items()]

    def digests(self) -> dict[Identity, str]:
        """Return what the next snapshot need not read again."""
        return {
            identity: self._hashed.get(name, name)
            for identity, name in self._seen.items()
            if not name.startswith(_COPY) or name in self._hashed
        }

    def _path(self, name: str) -> str:
        return f"{self._workplace}/{name}"
