"""Headers of a tar archive, in the pax format: one file's facts to bytes. No file is read here.

Same facts, same bytes. What the old header has no room for goes to a pax record: long names, names
that are not ASCII, fractions of a second, big numbers, extended attributes (SCHILY.xattr.NAME, the
way that every OCI engine knows).
Source: pax(1), "pax Extended Header"; image-spec layer.md.
"""

from __future__ import annotations

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.tree import raw_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.tree import Entry

BLOCK = 512
END = bytes(2 * BLOCK)
# Go's archive/tar, which every engine reads with, refuses a longer extended header.
PAX_LIMIT_BYTES = 1024 * 1024
XATTR = b"SCHILY.xattr."

TYPES = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "character": b"3",
    "block": b"4",
    "directory": b"5",
    "fifo": b"6",
}
_SMALL = 0o7777777
_LARGE = 0o77777777777
_SECOND_NS = 1_000_000_000


def header(entry: Entry) -> bytes:
    """Return the header blocks of one entry, whose content (of a file) must follow, padded.

    Raises InputError where the format has no way to say it.
    """
    name = raw_of(entry.path)
    if entry.kind == "directory":
        name += b"/"
    target = raw_of(entry.target)
    size = entry.size if entry.kind == "file" else 0
    seconds, fraction_ns = divmod(entry.mtime_ns, _SECOND_NS)
    records = _xattrs(entry)
    if len(name) > 100 or not name.isascii():
        records[b"path"] = name
    if len(target) > 100 or not target.isascii():
        records[b"linkpath"] = target
    if not (_is_utf8(name) and _is_utf8(target)):
        records[b"hdrcharset"] = b"BINARY"
    for key, value, limit in (
        (b"size", size, _LARGE),
        (b"uid", entry.uid, _SMALL),
        (b"gid", entry.gid, _SMALL),
    ):
        if value > limit:
            records[key] = b"%d" % value
    if fraction_ns or not 0 <= seconds <= _LARGE:
        records[b"mtime"] = _decimal(entry.mtime_ns)
    blocks = _block(
        name,
        TYPES[entry.kind],
        target=target,
        mode=entry.mode,
        owner=(_fitting(entry.uid, _SMALL), _fitting(entry.gid, _SMALL)),
        size=_fitting(size, _LARGE),
        seconds=_fitting(seconds, _LARGE),
        device=entry.device if entry.kind in {"character", "block"} else (0, 0),
    )
    return _extended(entry, records) + blocks if records else blocks


def padding(size: int) -> bytes:
    """Return what follows a content of this size."""
    return bytes(-size % BLOCK)


def _xattrs(entry: Entry) -> dict[bytes, bytes]:
    # The other names of a hardlink share what the first one has.
    if entry.kind == "hardlink":
        return {}
    records: dict[bytes, bytes] = {}
    for name, value in entry.xattrs:
        if "=" in name:
            raise InputError(
                f"an image cannot carry the extended attribute {name!r}",
                where=f"/{entry.path}",
                why="the name of a pax record ends at its first '='",
                hint="remove the attribute, in the container: setfattr -x",
            )
        if not value:
            raise InputError(
                f"an image cannot carry the extended attribute {name!r}",
                where=f"/{entry.path}",
                why="it is empty, and engines take an empty pax record for none",
                hint="remove the attribute, in the container: setfattr -x",
            )
        records[XATTR + raw_of(name)] = value
    return records


def _extended(entry: Entry, records: dict[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    if len(body) > PAX_LIMIT_BYTES:
        raise InputError(
            "an image cannot carry so many extended attributes on one file",
            where=f"/{entry.path}",
            why=f"they take {len(body)} bytes, and engines read {PAX_LIMIT_BYTES} at most",
        )
    last = raw_of(entry.path).rpartition(b"/")[2]
    first = _block(b"PaxHeaders.0/" + last[:80], b"x", mode=0o644, size=len(body))
    return first + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    # The length counts its own digits.
    rest = b" %b=%b\n" % (key, value)
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _block(
    name: bytes,
    kind: bytes,
    *,
    target: bytes = b"",
    mode: int = 0,
    owner: tuple[int, int] = (0, 0),
    size: int = 0,
    seconds: int = 0,
    device: tuple[int, int] = (0, 0),
) -> bytes:
    fields = (
        name[:100].ljust(100, b"\0"),
        b"%07o\0%07o\0%07o\0" % (mode & 0o7777, *owner),
        b"%011o\0%011o\0" % (size, seconds),
        b" " * 8,
        kind,
        target[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0%07o\0" % device,
        bytes(155 + 12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _fitting(value: int, limit: int) -> int:
    # A pax record says the true number; readers that know none get a harmless one.
    return value if 0 <= value <= limit else 0


def _decimal(time_ns: int) -> bytes:
    sign = b"-" if time_ns < 0 else b""
    seconds, fraction_ns = divmod(abs(time_ns), _SECOND_NS)
    fraction = b".%09d" % fraction_ns if fraction_ns else b""
    return sign + b"%d" % seconds + fraction.rstrip(b"0")


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
