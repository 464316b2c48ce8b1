"""Make the upper directory of a snapshot anew. Who makes the bundle around it decides the rest."""

from __future__ import annotations

import os

from aisbx_runtime.sandbox.snapshots import known
from aisbx_runtime.sandbox.tree import make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.snapshots.known import Identity
    from aisbx_runtime.sandbox.snapshots.shelf import Shelf
    from aisbx_runtime.sandbox.snapshots.tree_file import Tree
    from aisbx_runtime.sandbox.tree import Entry, Mapping, Overlay


def fill_upper(
    shelf: Shelf, tree: Tree, directory: str, mapping: Mapping | None, overlay: Overlay
) -> dict[Identity, str]:
    """Fill an empty directory of a workplace; return what its first snapshot need not read.

    The caller holds `store.shared()`, and no container runs in it yet. Nothing is flushed.
    """
    found: list[tuple[Identity, str, os.stat_result]] = []

    def made(entry: Entry, stat: os.stat_result) -> None:
        found.append((known.identity_of(stat), entry.digest, stat))

    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        make(
            fd,
            tree.entries,
            lambda entry: shelf.open_file(entry.digest),
            mapping,
            overlay=overlay,
            made=made,
        )
    finally:
        os.close(fd)
    moment_ns = known.now_ns()
    return {identity: digest for identity, digest, stat in found if known.settled(stat, moment_ns)}
