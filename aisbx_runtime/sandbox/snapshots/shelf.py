"""Where snapshots lie: files by content, trees by id, names. See the package's docstring.

Whoever adds files and then the tree that names them holds `store.shared()` from the first look to
the tree; whoever removes holds `store.exclusive()`.
"""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import HostError, InputError, NotFoundError
from aisbx_runtime.sandbox.snapshots import tree_file
from aisbx_runtime.sandbox.store import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from aisbx_runtime.sandbox.snapshots.tree_file import Tree
    from aisbx_runtime.sandbox.store import Store

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_HEX = frozenset("0123456789abcdef")
SHORTEST_ID = 6
# More files than this are flushed by one syncfs(2): each fsync(2) waits for the journal.
FEW = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree that is there. created_ns: when it came, or got its oldest name."""

    id: str
    names: tuple[str, ...]
    created_ns: int


class Shelf:
    """The snapshots of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        for name in ("trees", "files", "names"):
            os.makedirs(store.place("snapshots", name), mode=0o700, exist_ok=True)

    def tree_path(self, snapshot_id: str) -> str:
        """Return where a tree lies."""
        return self.store.place("snapshots/trees", f"{_hex_of(snapshot_id)}.json")

    def file_path(self, digest: str) -> str:
        """Return where the content of a file lies."""
        value = _hex_of(digest)
        return self.store.place("snapshots/files", value[:2], value)

    def name_path(self, name: str) -> str:
        """Return where a name lies. Raises InputError for what is no name."""
        if not 0 < len(name) <= 128 or not set(name) <= _LETTERS or name[0] in "._-":
            raise InputError(
                f"{name!r} is no name of a snapshot",
                hint="write 1 to 128 letters, digits, `.`, `_` or `-`, a letter or digit first",
            )
        if len(name) >= SHORTEST_ID and set(name) <= _HEX:
            raise InputError(
                f"{name!r} cannot be told from the id of a snapshot",
                hint="write a name that is not hexadecimal",
            )
        return self.store.place("snapshots/names", name)

    # ---- reading

    def names(self) -> dict[str, str]:
        """Return the id of each name."""
        found: dict[str, str] = {}
        for name in sorted(os.listdir(self.store.place("snapshots/names"))):
            # write_whole's own, while it is at it or was killed.
            if ".new-" not in name:
                found[name] = self._named(name)
        return found

    def ids(self) -> list[str]:
        """Return the ids of all trees."""
        found = os.listdir(self.store.place("snapshots/trees"))
        return [f"sha256:{name[:-5]}" for name in sorted(found) if len(name) == 69]

    def snapshots(self) -> list[Snapshot]:
        """Return all snapshots, the oldest first."""
        names: dict[str, list[str]] = {}
        for name, snapshot_id in self.names().items():
            names.setdefault(snapshot_id, []).append(name)
        found: list[Snapshot] = []
        for snapshot_id in self.ids():
            own = tuple(names.get(snapshot_id, ()))
            paths = [self.tree_path(snapshot_id), *[self.name_path(name) for name in own]]
            try:
                times = [os.stat(path).st_mtime_ns for path in paths]
            except FileNotFoundError:
                # Removed meanwhile.
                continue
            found.append(Snapshot(snapshot_id, own, min(times)))
        return sorted(found, key=lambda each: (each.created_ns, each.id))

    def id_of(self, text: str) -> str:
        """Return the id that a name, an id or the beginning of one means. Raises NotFoundError."""
        plain = text.removeprefix("sha256:")
        if len(plain) >= SHORTEST_ID and set(plain) <= _HEX:
            found = [each for each in self.ids() if each[7:].startswith(plain)]
            if len(found) > 1:
                raise InputError(f"{len(found)} snapshots begin with {text!r}", hint="write more")
            if found:
                return found[0]
        elif os.path.lexists(self.name_path(text)):
            return self._named(text)
        raise NotFoundError(f"no snapshot {text!r}", hint="aisbx snapshot ls lists them")

    def tree(self, snapshot_id: str) -> Tree:
        """Return a tree. Raises NotFoundError."""
        path = self.tree_path(snapshot_id)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"no snapshot {snapshot_id!r}", hint="aisbx snapshot ls lists them"
            ) from error
        return tree_file.decoded(data, path)

    def open_file(self, digest: str) -> BinaryIO:
        """Open the content of a file. Raises HostError where it is lost."""
        path = self.file_path(digest)
        try:
            return open(path, "rb")
        except FileNotFoundError as error:
            raise HostError("the content of a file is lost", where=path, why="ENOENT") from error

    def has_file(self, digest: str) -> bool:
        """Tell whether a content is here; true for as long as the store is held shared."""
        return os.path.exists(self.file_path(digest))

    # ---- writing; the caller holds the store

    def take_files(self, files: Iterable[tuple[str, str]]) -> None:
        """Move files (path, digest), flushed by the caller, to where they belong."""
        directories: set[str] = set()
        for path, digest in files:
            target = self.file_path(digest)
            if os.path.exists(target):
                continue
            directory = os.path.dirname(target)
            if not os.path.isdir(directory):
                os.makedirs(directory, mode=0o700, exist_ok=True)
                directories.add(os.path.dirname(directory))
            os.rename(path, target)
            directories.add(directory)
        flush(sorted(directories))

    def put_tree(self, tree: Tree) -> str:
        """Store a tree whose files are all here; return its id."""
        snapshot_id, data = tree_file.encoded(tree)
        path = self.tree_path(snapshot_id)
        if os.path.exists(path):
            # Its time of change says that one more has it: who took it for a moment leaves it then.
            os.chmod(path, 0o600)
        else:
            write_whole(path, data)
            flush([os.path.dirname(path)])
        return snapshot_id

    def put_name(self, name: str, snapshot_id: str) -> str:
        """Have a name mean a snapshot; return what it meant before, or nothing."""
        path = self.name_path(name)
        before = self._named(name) if os.path.exists(path) else ""
        if before != snapshot_id:
            write_whole(path, f"{snapshot_id}\n".encode())
            flush([os.path.dirname(path)])
        return before

    def _named(self, name: str) -> str:
        path = self.store.place("snapshots/names", name)
        try:
            with open(path, encoding="ascii") as file:
                text = file.read(100).strip()
        except FileNotFoundError as error:
            raise NotFoundError(f"no snapshot {name!r}") from error
        if not tree_file.is_digest(text):
            raise HostError("a snapshot's name is spoilt", where=path, hint="remove this file")
        return text


def _hex_of(digest: str) -> str:
    if not tree_file.is_digest(digest):
        raise InputError(f"{digest!r} is no digest")
    return digest[7:]


def flush(paths: list[str]) -> None:
    """Have files or directories of one filesystem on the disk. Raises HostError."""
    if len(paths) > FEW:
        # syncfs(2), which Python has not.
        words = ["sync", "--file-system", paths[0]]
        if subprocess.run(words, check=False, stdin=subprocess.DEVNULL).returncode != 0:
            raise HostError("cannot write to the disk", where=paths[0], why="sync failed")
        return
    for path in paths:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            raise HostError(
                "cannot write to the disk",
                where=path,
                why=f"fsync: {errno.errorcode[error.errno or errno.EIO]}",
            ) from error
        finally:
            os.close(fd)
