"""The members of a tar archive, read strictly: where two readers could differ, it is refused.

The rules are narrower than those of umoci, which reads the same bytes after us (Go's archive/tar):
POSIX ustar, PAX and GNU long names only; each number in the form that the format has for it; no
sparse files, no global headers, nothing after the end.
See POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header", and GNU tar's manual,
"Basic Tar Format".
"""

from __future__ import annotations

from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

BLOCK_BYTES = 512
ZEROS = bytes(BLOCK_BYTES)
# Of one extended header: Go's archive/tar stops there as well.
LONGEST_EXTENDED_BYTES = 1 << 20
LONGEST_PATH_BYTES = 4095
LARGEST_SIZE = 1 << 45
KINDS = {
    b"0": "file",
    b"\0": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "character",
    b"4": "block",
    b"5": "directory",
    b"6": "fifo",
}
XATTR = b"SCHILY.xattr."
# Records that say nothing about where or how something is unpacked, or that have their own field.
KNOWN_RECORDS = frozenset({
    b"path", b"linkpath", b"size", b"uid", b"gid", b"uname", b"gname", b"mtime", b"atime",
    b"ctime", b"comment", b"charset", b"hdrcharset", b"SCHILY.dev", b"SCHILY.ino",
    b"SCHILY.nlink", b"SCHILY.fflags", b"SCHILY.acl.access", b"SCHILY.acl.default",
    b"RHT.security.selinux", b"LIBARCHIVE.creationtime", b"LIBARCHIVE.symlinktype",
})  # fmt: skip
NUMBERS = frozenset({b"size", b"uid", b"gid"})


@dataclass(slots=True)
class Member:
    """One member. path, target: as written. size: of its content, 0 unless it is a file."""

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    target: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes]


class Stream:
    """Bytes by the block; counts, and hands each chunk to `seen` (a digest)."""

    def __init__(self, read: Callable[[], bytes], seen: Callable[[bytes], None]) -> None:
        self._read = read
        self._seen = seen
        self._buffer = b""
        self._offset = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        end = self._offset + size
        if end <= len(self._buffer):
            taken = self._buffer[self._offset : end]
            self._offset = end
            return taken
        parts = [self._buffer[self._offset :]]
        missing = size - len(parts[0])
        while missing > 0 and self._fill():
            parts.append(self._buffer[:missing])
            self._offset = len(parts[-1])
            missing -= self._offset
        return b"".join(parts)

    def skip(self, size: int) -> bool:
        """Pass over bytes; False where there were not so many."""
        while True:
            left = len(self._buffer) - self._offset
            if size <= left:
                self._offset += size
                return True
            size -= left
            if not self._fill():
                return False

    def is_zero_to_the_end(self) -> bool:
        """Read to the end; tell whether nothing but zeros was there."""
        zero = not self._buffer[self._offset :].strip(b"\0")
        while self._fill():
            zero = zero and not self._buffer.strip(b"\0")
        return zero

    def _fill(self) -> bool:
        self._buffer = self._read()
        self._offset = 0
        self._seen(self._buffer)
        return bool(self._buffer)


def members(stream: Stream, where: str) -> Generator[Member]:
    """Read the members of an archive, one after the other, to its end.

    Raises InputError where the archive is damaged or ambiguous.
    """
    reader = _Reader(stream, where)
    while (header := reader.header()) is not None:
        member = reader.member(header)
        if member is None:
            continue
        yield member
        if not stream.skip(_padded(member.size)):
            raise reader.wrong("the archive ends in the middle of a file")
    if reader.extended or reader.long_name or reader.long_target:
        raise reader.wrong("the archive ends after an extended header")


class _Reader:
    """The state between headers: what extended headers say of the member that follows."""

    def __init__(self, stream: Stream, where: str) -> None:
        self.stream = stream
        self.where = where
        self.count = 0
        self.extended: dict[bytes, bytes] = {}
        self.long_name = b""
        self.long_target = b""

    def wrong(self, what: str, why: str = "") -> InputError:
        return InputError(what, where=f"{self.where}, header {self.count}", why=why)

    def header(self) -> bytes | None:
        """Return the next header block; None at the end of the archive."""
        block = self.stream.take(BLOCK_BYTES)
        if not block:
            # Some writers leave the two blocks of zeros out; every reader takes that.
            return None
        if block == ZEROS:
            if not self.stream.is_zero_to_the_end():
                raise self.wrong("there is something after the end of the archive")
            return None
        self.count += 1
        if len(block) != BLOCK_BYTES:
            raise self.wrong("the archive ends in the middle of a header")
        if sum(block) - sum(block[148:156]) + 8 * 32 != self._number(block, 148, 8, "chksum"):
            raise self.wrong("a header has a wrong checksum")
        if block[257:265] not in {b"ustar\x0000", b"ustar  \0"}:
            raise self.wrong("a header is neither POSIX ustar nor GNU", repr(block[257:265]))
        if block[508:512] == b"tar\0":
            # star's own variant, which has another prefix at the same place.
            raise self.wrong("a header is of star's own format")
        return block

    def member(self, block: bytes) -> Member | None:
        """Read a header; None for an extended one, which is kept for the next."""
        flag = block[156:157]
        size = self._number(block, 124, 12, "size")
        if flag in {b"x", b"L", b"K"}:
            self._keep(flag, self._extension(size))
            return None
        kind = KINDS.get(flag)
        if kind is None:
            raise self.wrong("a member of this type cannot be unpacked", f"typeflag {flag!r}")
        made = self._made(block, kind, size)
        self.extended = {}
        self.long_name = self.long_target = b""
        return made

    def _made(self, block: bytes, kind: str, size: int) -> Member:
        extended = self.extended
        path = self.long_name or extended.get(b"path") or self._short_path(block)
        target = self.long_target or extended.get(b"linkpath") or _string(block, 157, 100)
        size = self._extended_number(b"size", size)
        if kind != "file" and size:
            raise self.wrong("a member without content has a size", f"{kind} of {size} bytes")
        if size > LARGEST_SIZE:
            raise self.wrong("a file is larger than any disk", f"{size} bytes")
        if b"\0" in path or b"\0" in target:
            raise self.wrong("a path has a NUL in it")
        if not path:
            raise self.wrong("a member has no path")
        if max(len(path), len(target)) > LONGEST_PATH_BYTES:
            raise self.wrong(f"a path is longer than {LONGEST_PATH_BYTES} bytes")
        if kind in {"symlink", "hardlink"} and not target:
            raise self.wrong("a link has no target")
        self._number(block, 136, 12, "mtime", negative=True)
        return Member(
            path,
            kind,
            self._number(block, 100, 8, "mode"),
            self._extended_number(b"uid", self._number(block, 108, 8, "uid")),
            self._extended_number(b"gid", self._number(block, 116, 8, "gid")),
            size,
            target,
            self._device(block) if kind in {"character", "block"} else (0, 0),
            {
                name.removeprefix(XATTR): value
                for name, value in extended.items()
                if name.startswith(XATTR)
            },
        )

    def _device(self, block: bytes) -> tuple[int, int]:
        return self._number(block, 329, 8, "devmajor"), self._number(block, 337, 8, "devminor")

    def _short_path(self, block: bytes) -> bytes:
        name = _string(block, 0, 100)
        if block[257:265] != b"ustar\x0000":
            # GNU has times at the place of the prefix. Go before 1.8 wrote a prefix there, and
            # later ones take it for one where it is no number.
            self._number(block, 345, 12, "atime", negative=True)
            self._number(block, 357, 12, "ctime", negative=True)
            return name
        prefix = _string(block, 345, 155)
        return prefix + b"/" + name if prefix else name

    def _extension(self, size: int) -> bytes:
        if size > LONGEST_EXTENDED_BYTES:
            raise self.wrong(f"an extended header is longer than {LONGEST_EXTENDED_BYTES} bytes")
        content = self.stream.take(_padded(size))
        if len(content) != _padded(size):
            raise self.wrong("the archive ends in the middle of an extended header")
        return content[:size]

    def _keep(self, flag: bytes, content: bytes) -> None:
        """Keep what an extended header says; the same thing said twice is ambiguous."""
        if flag == b"x":
            if self.extended:
                raise self.wrong("two PAX headers are before one member")
            self.extended = self._records(content)
        else:
            name = content.removesuffix(b"\0")
            if not name or b"\0" in name:
                raise self.wrong("a GNU long name is empty or has a NUL in it")
            if flag == b"L":
                if self.long_name:
                    raise self.wrong("two GNU long names are before one member")
                self.long_name = name
            else:
                if self.long_target:
                    raise self.wrong("two GNU long link targets are before one member")
                self.long_target = name
        if self.extended and (self.long_name or self.long_target):
            raise self.wrong("PAX and GNU extended headers are before one member")

    def _records(self, content: bytes) -> dict[bytes, bytes]:
        """Read PAX records: LENGTH, a blank, NAME=VALUE, a newline; LENGTH counts all of it."""
        found: dict[bytes, bytes] = {}
        while content:
            digits, blank, _ = content[:21].partition(b" ")
            if not blank or not digits.isdigit() or digits.startswith(b"0"):
                raise self.wrong("a PAX record has no length")
            record = content[len(digits) + 1 : int(digits)]
            if int(digits) > len(content) or not record.endswith(b"\n"):
                raise self.wrong("a PAX record has a wrong length")
            content = content[int(digits) :]
            name, equals, value = record[:-1].partition(b"=")
            self._check_record(name, equals, value)
            if name in found:
                raise self.wrong("a PAX record is there twice", repr(name))
            found[name] = value
        if not found:
            raise self.wrong("a PAX header is empty")
        return found

    def _check_record(self, name: bytes, equals: bytes, value: bytes) -> None:
        if not equals or b"\0" in name:
            raise self.wrong("a PAX record has no name")
        if name.startswith(XATTR):
            return
        if name.startswith(b"GNU.sparse."):
            raise self.wrong("sparse files cannot be unpacked", repr(name))
        if name not in KNOWN_RECORDS and not name.startswith(b"LIBARCHIVE.xattr."):
            raise self.wrong("a PAX record is not known", repr(name))
        if not value and name != b"comment":
            # POSIX: an empty value takes the record back; readers differ.
            raise self.wrong("a PAX record is empty", repr(name))
        if name in NUMBERS and not (value.isdigit() and len(value) < 20):
            raise self.wrong("a PAX record is no number", f"{name!r}: {value[:40]!r}")
        if name == b"mtime" and not _is_time(value):
            raise self.wrong("a PAX record is no time", f"{name!r}: {value[:40]!r}")

    def _extended_number(self, name: bytes, otherwise: int) -> int:
        return int(self.extended[name]) if name in self.extended else otherwise

    def _number(
        self, block: bytes, offset: int, length: int, name: str, *, negative: bool = False
    ) -> int:
        """Read a numeric field: octal digits, or GNU's base 256 (first bit set)."""
        field = block[offset : offset + length]
        if field[0] & 0x80:
            # The first bit is the mark, the second one the sign.
            bits = 8 * length - 1
            value = int.from_bytes(field, "big") & ((1 << bits) - 1)
            if field[0] & 0x40:
                value -= 1 << bits
            if value < 0 and not negative:
                raise self.wrong(f"{name} is negative", str(value))
            return value
        digits = field.strip(b" \0")
        if not digits:
            return 0
        if digits.strip(b"01234567"):
            raise self.wrong(f"{name} is no octal number", repr(field))
        return int(digits, 8)


def _string(block: bytes, offset: int, length: int) -> bytes:
    return block[offset : offset + length].partition(b"\0")[0]


def _padded(size: int) -> int:
    return -size % BLOCK_BYTES + size


def _is_time(value: bytes) -> bool:
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    return whole.isdigit() and len(whole) < 16 and (not fraction or fraction.isdigit())
