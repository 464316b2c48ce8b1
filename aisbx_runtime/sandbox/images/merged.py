"""An image's tree and what changed above it, as the container sees both: overlay's rules, on lists.

See Documentation/filesystems/overlayfs.rst, "Upper and Lower". No file is read here.
"""

from __future__ import annotations

from dataclasses import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aisbx_runtime.sandbox.tree import Entry

ROOT = "."


def merged(lower: Iterable[Entry], upper: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are seen; a content is the upper's where the upper has the path."""
    above = {entry.path: entry for entry in upper}
    hiding = {path for path, entry in above.items() if entry.opaque or entry.kind != "directory"}
    below = [
        entry
        for entry in lower
        if entry.kind != "whiteout"
        and entry.path not in above
        and not hiding.intersection(_parents(entry.path))
    ]
    return [
        *_with_first_names(below, {entry.path: entry for entry in lower}),
        *(replace(entry, opaque=False) for entry in above.values() if entry.kind != "whiteout"),
    ]


def _parents(path: str) -> Iterator[str]:
    if path != ROOT:
        yield ROOT
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _with_first_names(entries: list[Entry], before: dict[str, Entry]) -> Iterator[Entry]:
    """Yield the entries, with each file whose first name is hidden under its next one."""
    left = {entry.path for entry in entries}
    renamed: dict[str, str] = {}
    for entry in entries:
        if entry.kind != "hardlink" or entry.target in left:
            yield entry
        elif entry.target in renamed:
            yield replace(entry, target=renamed[entry.target])
        else:
            renamed[entry.target] = entry.path
            yield replace(before[entry.target], path=entry.path)
