"""Remove snapshots, and what none of them needs any more."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import NotFoundError
from aisbx_runtime.sandbox.snapshots.shelf import Shelf, flush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.snapshots.tree_file import Base
    from aisbx_runtime.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Freed:
    """What gc removed."""

    files: int
    bytes: int


def bases(store: Store) -> dict[str, Base]:
    """Return what each snapshot lies on, by its id.

    For whoever removes images: the caller holds `store.exclusive()`.
    """
    shelf = Shelf(store)
    return {snapshot_id: shelf.tree(snapshot_id).base for snapshot_id in shelf.ids()}


def remove(store: Store, text: str) -> tuple[str, bool]:
    """Remove a name, and the snapshot with its last one; or a snapshot by its id, with its names.

    Returns the id, and whether the snapshot itself is gone. Its files stay until `gc`.
    Raises NotFoundError.
    """
    shelf = Shelf(store)
    with store.exclusive():
        names = shelf.names()
        if text in names:
            snapshot_id = names.pop(text)
            whole = snapshot_id not in names.values()
            # The name last: killed in between, the same command finds it again.
            paths = [shelf.tree_path(snapshot_id)] if whole else []
            paths.append(shelf.name_path(text))
        else:
            snapshot_id, whole = shelf.id_of(text), True
            own = [name for name, other in names.items() if other == snapshot_id]
            paths = [*[shelf.name_path(name) for name in own], shelf.tree_path(snapshot_id)]
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        flush([store.place("snapshots/trees"), store.place("snapshots/names")])
    return snapshot_id, whole


def gc(store: Store) -> Freed:
    """Remove the files that no snapshot has, names without a snapshot, and what a kill left."""
    shelf = Shelf(store)
    with store.exclusive():
        ids = shelf.ids()
        # A tree that cannot be read ends it all here: nobody knows what it needs.
        used = {entry.digest for each in ids for entry in shelf.tree(each).entries if entry.digest}
        removed = [_removed(path) for path in _unused(shelf, used, set(ids))]
        for directory in os.scandir(store.place("snapshots/files")):
            with contextlib.suppress(OSError):
                # Refused while there is something in it.
                os.rmdir(directory.path)
    return Freed(len(removed), sum(removed))


def _unused(shelf: Shelf, used: set[str], ids: set[str]) -> list[str]:
    place = shelf.store.place
    found: list[str] = []
    for directory in os.listdir(place("snapshots/files")):
        names = os.listdir(place("snapshots/files", directory))
        unused = [name for name in names if f"sha256:{name}" not in used]
        found += [place("snapshots/files", directory, name) for name in unused]
    for directory in "trees", "names":
        names = os.listdir(place("snapshots", directory))
        found += [place("snapshots", directory, name) for name in names if ".new-" in name]
    found += [shelf.name_path(name) for name, each in shelf.names().items() if each not in ids]
    return found


def _removed(path: str) -> int:
    try:
        size = os.stat(path).st_blocks * 512
        os.unlink(path)
    except FileNotFoundError as error:
        raise NotFoundError("somebody else removes things from the store", where=path) from error
    return size
