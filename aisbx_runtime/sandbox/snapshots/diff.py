"""What differs between two snapshots of one image, or between a snapshot and its image.

Compared is what a container sees: an upper directory together with the image below it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.tree import Entry, order
from aisbx_runtime.sandbox.tree.lookup import digest_at, lookup, names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisbx_runtime.sandbox.snapshots.tree_file import Tree
    from aisbx_runtime.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Change:
    """One path. change: added, changed, deleted. what: of a changed one, the fields that differ."""

    change: str
    path: str
    kind: str
    what: tuple[str, ...] = ()


def diff(store: Store, before: Tree | None, after: Tree) -> list[Change]:
    """Return what changes from one snapshot (None: the image) to another, in the order of paths.

    Below a directory that is deleted nothing more is listed. The time of a directory, which
    changes with every file in it, does not count.
    Raises InputError where they lie on different images, NotFoundError without the image.
    """
    if before is not None and before.base.digest != after.base.digest:
        raise InputError(
            "the snapshots lie on different images",
            where=f"{before.base.reference} and {after.base.reference}",
        )
    path = store.place("rootfs", after.base.rootfs, "rootfs")
    try:
        root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(
            "the image of the snapshot is not unpacked here",
            where=path,
            hint=f"aisbx image pull {after.base.reference}",
        ) from error
    try:
        left = _Side(before.entries if before else (), root_fd)
        right = _Side(after.entries, root_fd)
        return list(_changes(left, right, root_fd))
    finally:
        os.close(root_fd)


class _Side:
    """What a container with these entries sees."""

    def __init__(self, entries: tuple[Entry, ...], root_fd: int) -> None:
        self.entries = {entry.path: entry for entry in entries}
        self._root_fd = root_fd

    def at(self, path: str) -> Entry | None:
        """Return the entry of a path, of a further name that of the first; None: not there."""
        entry = self.entries.get(path)
        if entry is None:
            return None if self.hides(path) else lookup(self._root_fd, path)
        if entry.kind == "whiteout":
            return None
        return self.entries[entry.target] if entry.kind == "hardlink" else entry

    def hides(self, path: str) -> bool:
        """Tell whether what the image has at a path, which is no entry, is not seen."""
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            entry = self.entries.get(above)
            if entry is not None and (entry.kind != "directory" or entry.opaque):
                return True
        return False


def _changes(left: _Side, right: _Side, root_fd: int) -> Iterator[Change]:
    deleted = ""
    for path in _paths(left, right, root_fd):
        if deleted and path.startswith(deleted):
            continue
        before, after = left.at(path), right.at(path)
        if before is None and after is not None:
            yield Change("added", path, after.kind)
        elif before is not None and after is None:
            deleted = f"{path}/"
            yield Change("deleted", path, before.kind)
        elif before is not None and after is not None:
            what = _differing(before, after, root_fd)
            if what:
                yield Change("changed", path, after.kind, what)


def _paths(left: _Side, right: _Side, root_fd: int) -> list[str]:
    """Return what can differ: all entries, and what an opaque directory hides."""
    paths = set(left.entries) | set(right.entries)
    for side in left, right:
        for path, entry in side.entries.items():
            if entry.opaque and not side.hides(path):
                paths.update(f"{path}/{name}" for name in names_in(root_fd, path))
    return sorted(paths, key=order)


def _differing(before: Entry, after: Entry, root_fd: int) -> tuple[str, ...]:
    if before.kind != after.kind:
        return ("kind",)
    pairs = {
        "mode": (before.mode, after.mode),
        "owner": ((before.uid, before.gid), (after.uid, after.gid)),
        "content": (before.size, after.size),
        "target": (before.target, after.target),
        "device": (before.device, after.device),
        "xattrs": (before.xattrs, after.xattrs),
    }
    if before.kind != "directory":
        pairs["time"] = (before.mtime_ns, after.mtime_ns)
    found = [name for name, (one, other) in pairs.items() if one != other]
    if before.kind == "file" and before.size == after.size:
        # Of the image's files only those are read that could be the same.
        digests = {entry.digest or digest_at(root_fd, entry.path) for entry in (before, after)}
        if len(digests) > 1:
            found.append("content")
    return tuple(sorted(found))
