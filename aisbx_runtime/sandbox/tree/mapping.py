"""The ids of a container and those of the host, in both directions."""

from __future__ import annotations

from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Ranges = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """The id mapping of a user namespace: ranges of (id inside, id outside, count)."""

    uid: Ranges
    gid: Ranges

    @classmethod
    def of(cls, uid: Sequence[Sequence[int]], gid: Sequence[Sequence[int]]) -> Mapping:
        """Return a mapping from the lists of a bundle's facts. Raises InputError."""
        return cls(_ranges(uid), _ranges(gid))

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """Return the ids that the container sees. Raises InputError for ids that it has not."""
        return translated(self.uid, uid, 1), translated(self.gid, gid, 1)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """Return the ids on the host. Raises InputError for ids that the container has not."""
        return translated(self.uid, uid, 0), translated(self.gid, gid, 0)


def translated(ranges: Ranges, number: int, side: int) -> int:
    """Return the other id of one on `side`: 0 inside the container, 1 outside."""
    for entry in ranges:
        offset = number - entry[side]
        if 0 <= offset < entry[2]:
            return entry[1 - side] + offset
    place = "outside" if side else "inside"
    raise InputError(f"id {number} {place} is not in the container's id mapping")


def _ranges(rows: Sequence[Sequence[int]]) -> Ranges:
    result: list[tuple[int, int, int]] = []
    for row in rows:
        if len(row) != 3 or row[2] < 1 or any(not 0 <= number < 2**32 for number in row):
            raise InputError(f"an id mapping is [inside, outside, count], got {list(row)}")
        result.append((row[0], row[1], row[2]))
    return tuple(result)
