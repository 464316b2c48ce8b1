"""What people and programs are told of snapshots."""

from __future__ import annotations

import collections
import contextlib
import time
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.snapshots.shelf import Shelf, Snapshot
    from aisbx_runtime.sandbox.snapshots.tree_file import Tree, Value


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot with what is in it. created: RFC 3339."""

    id: str
    names: tuple[str, ...]
    created: str
    tree: Tree

    @property
    def kinds(self) -> dict[str, int]:
        """How many of each kind there are."""
        return dict(sorted(collections.Counter(each.kind for each in self.tree.entries).items()))

    @property
    def files(self) -> int:
        """How many regular files there are."""
        return self.kinds.get("file", 0)

    @property
    def size_bytes(self) -> int:
        """The size of the files, whether or not other snapshots have them too."""
        return sum(each.size for each in self.tree.entries)


def every(shelf: Shelf) -> list[Seen]:
    """Return all snapshots, the oldest first."""
    found: list[Seen] = []
    for each in shelf.snapshots():
        # Removed meanwhile.
        with contextlib.suppress(NotFoundError):
            found.append(_seen(shelf, each))
    return found


def one(shelf: Shelf, text: str) -> Seen:
    """Return a snapshot by its name or id. Raises NotFoundError."""
    snapshot_id = shelf.id_of(text)
    for each in shelf.snapshots():
        if each.id == snapshot_id:
            return _seen(shelf, each)
    raise NotFoundError(f"no snapshot {text!r}", hint="aisbx snapshot ls lists them")


def value_of(seen: Seen) -> dict[str, Value]:
    """Return what JSON says of a snapshot."""
    base = seen.tree.base
    return {
        "id": seen.id,
        "names": list(seen.names),
        "created": seen.created,
        "image": {"reference": base.reference, "digest": base.digest},
        "rootfs": base.rootfs,
        "files": seen.files,
        "size_bytes": seen.size_bytes,
    }


def _seen(shelf: Shelf, found: Snapshot) -> Seen:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.created_ns // 10**9))
    return Seen(found.id, found.names, created, shelf.tree(found.id))
