"""Members of dangerous kinds, and archives that readers understand in two ways."""

from __future__ import annotations

import struct

from integration.images.hostile import (
    CASES,
    Case,
    refused,
    refused_raw,
    taken,
    xattr,
)
from integration.images.making import (
    END,
    SOUND,
    directory,
    file,
    gnu_long,
    header,
    layer,
    padded,
    pax,
    pax_text,
    symlink,
)

ACCEPTS = "accepts"
# Of a header named 0xff, with its bytes taken for signed ones, as some old tars did.
_BLOCK = header(b"\xff")
SIGNED = b"%06o\0 " % (sum(_BLOCK[:148]) + 256 + sum(_BLOCK[156:]) - 256)


# ---- devices, fifos, modes, owners, attributes

refused("overlay's own whiteout", "overlay's own whiteout", header("hello2", b"3"), umoci=ACCEPTS)
ATTRIBUTE = "may not come from an image"
for attribute in (
    b"trusted.overlay.opaque",
    b"trusted.overlay.redirect",
    b"trusted.overlay.metacopy",
):
    refused(
        f"the attribute {attribute.decode()}",
        ATTRIBUTE,
        xattr(attribute, b"y"),
        "d/",
        umoci=ACCEPTS,
    )
refused(
    "the attribute user.overlay.whiteout",
    ATTRIBUTE,
    xattr(b"user.overlay.whiteout"),
    ("x", b""),
    umoci=ACCEPTS,
)
refused("an attribute of the kernel's", ATTRIBUTE, xattr(b"trusted.x"), ("x", b""), umoci=ACCEPTS)
refused("an attribute without a name", ATTRIBUTE, xattr(b"user."), ("x", b""))
refused("an attribute of no kind", ATTRIBUTE, xattr(b"x"), ("x", b""))
refused("an attribute of 100 kB", "too long", xattr(b"user.x", b"v" * 100_000), ("x", b""))
taken(
    "a file with capabilities",
    {"x": "100755 0:0 b'1' 1"},
    xattr(b"security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)),
    file("x", b"1", mode=0o755),
)
taken("a disk", {"sda": "60666 0:0"}, header("sda", b"4", device=(8, 0), mode=0o666))
taken("the memory", {"mem": "20666 0:0"}, header("mem", b"3", device=(1, 1), mode=0o666))
refused("a device beyond all", "too large", header("n", b"3", device=(0o77777, 1)))
taken("setuid", {"su": "104755 0:0 b'1' 1"}, file("su", b"1", mode=0o4755))
taken("every bit of a mode", {"d": "47777 0:0"}, directory("d", mode=0o7777))
refused("a mode with more bits", "more bits", file("x", b"1", mode=0o1777777))
refused("the id that is none", "too large", pax({b"uid": b"4294967295"}), ("x", b""))
refused("an id of 64 bits", "too large", pax({b"gid": b"9" * 18}), ("x", b""))
refused("a negative id", "negative", file("x", b"1", uid=b"\xff" * 7 + b"\xfe"))
taken("a large id", {"x": "100644 4294967294:0 b'1' 1"}, pax({b"uid": b"4294967294"}), ("x", b"1"))
CASES.append(
    Case(
        "a fifo as /etc/passwd",
        lambda _: [layer("etc/", header("etc/passwd", b"6", mode=0o644))],
        found={"etc/passwd": "10644 0:0"},
    )
)
CASES.append(
    Case(
        "a symlink as /etc/passwd",
        lambda ground: [layer("etc/", symlink("etc/passwd", ground + b"/canary"))],
    )
)

# ---- what a tar can be, and readers differ in

refused("a sparse file of GNU tar", "cannot be unpacked", header("x", b"S"))
refused("a sparse file by PAX", "sparse", pax({b"GNU.sparse.major": b"1"}), ("x", b"1"))
refused("a contiguous file", "cannot be unpacked", header("x", b"7"))
refused("a global header", "cannot be unpacked", pax({b"path": b"y"}, b"g"), ("x", b"1"))
refused("a volume of GNU tar", "cannot be unpacked", header("x", b"V"))
refused("a type of nobody's", "cannot be unpacked", header("x", b"Z"))
refused("a wrong checksum", "wrong checksum", header("x", checksum=b"000000\0 "))
refused("a checksum of signed bytes", "wrong checksum", header(b"\xff", checksum=SIGNED))
refused("an old header", "neither POSIX ustar nor GNU", header("x", magic=bytes(8)))
refused("star's own header", "star", header("x", tail=b"tar\0"))
refused(
    "a prefix in a GNU header",
    "no octal number",
    file("x", b"1", magic=b"ustar  \0", prefix=b"etc"),
    umoci=ACCEPTS,
)
refused("a size that is no number", "no octal number", header("x", size=b"0x10"))
refused("a negative size", "negative", header("x", size=b"\xff" * 11 + b"\x00"))
refused(
    "a size of exabytes",
    "larger than any disk",
    header("x", size=b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7),
)
refused("a directory with content", "has a size", header("d/", b"5", size=512) + bytes(512))
refused(
    "a symlink with content", "has a size", header("l", b"2", target=b"/", size=512) + bytes(512)
)
refused(
    "a PAX record twice",
    "there twice",
    pax([(b"path", b"a"), (b"path", b"b")]),
    ("x", b"1"),
    umoci=ACCEPTS,
)
refused(
    "a PAX record of nobody's", "not known", pax({b"AISBX.path": b"/"}), ("x", b"1"), umoci=ACCEPTS
)
refused("a PAX record with a wrong length", "wrong length", pax_text(b"99 path=x\n"), ("x", b"1"))
refused("a PAX record without an end", "wrong length", pax_text(b"9 path=xy"), ("x", b"1"))
refused("a PAX record without a length", "no length", pax_text(b"path=x\n"), ("x", b"1"))
refused("a PAX length with zeros in front", "no length", pax_text(b"010 path=x\n"), ("x", b"1"))
refused("an empty PAX record", "is empty", pax({b"path": b""}), ("x", b"1"), umoci=ACCEPTS)
refused("an empty PAX header", "is empty", pax({}), ("x", b"1"), umoci=ACCEPTS)
refused("a PAX size that is none", "no number", pax({b"size": b"-1"}), ("x", b"1"))
refused("a PAX time that is none", "no time", pax({b"mtime": b"now"}), ("x", b"1"))
refused(
    "two PAX headers",
    "two PAX headers",
    pax({b"path": b"a"}),
    pax({b"path": b"b"}),
    ("x", b"1"),
    umoci=ACCEPTS,
)
refused(
    "two GNU long names",
    "two GNU long names",
    gnu_long(b"a"),
    gnu_long(b"b"),
    ("x", b"1"),
    umoci=ACCEPTS,
)
refused(
    "PAX and GNU at once",
    "PAX and GNU",
    pax({b"path": b"a"}),
    gnu_long(b"b"),
    ("x", b"1"),
    umoci=ACCEPTS,
)
refused("a PAX header of 2 MB", "longer than", pax({b"comment": b"c" * (2 << 20)}), ("x", b"1"))
refused("a GNU long name of 2 MB", "longer than", gnu_long(b"n" * (2 << 20)), ("x", b"1"))
refused("a GNU long name with a NUL", "NUL", gnu_long(b"a\0b"), ("x", b"1"), umoci=ACCEPTS)
refused_raw("an end in a header", "middle of a header", header("x")[:300], end=b"")
refused_raw("an end in a file", "middle of a file", header("x", size=2000) + bytes(512), end=b"")
refused_raw(
    "an end in a PAX header", "middle of an extended", pax({b"path": b"p" * 600})[:1024], end=b""
)
refused_raw("an end after a PAX header", "after an extended header", pax({b"path": b"p"}))
refused_raw("a member after the end", "after the end", end=END + file("x", b"1") + END)
refused_raw(
    "a member after one block of zeros", "after the end", end=bytes(512) + file("x", b"1") + END
)
refused_raw("text after the end", "after the end", end=END + b"text" + bytes(508))
CASES.append(
    Case(
        "an archive without an end",
        lambda _: [layer(*SOUND, ("x", b"1"), end=b"")],
        found={"x": "100644 0:0 b'1' 1"},
    )
)
# The size of PAX counts, for umoci as well: what looks like content is the next member.
taken(
    "content that becomes a member",
    {"x": "100644 0:0 b'' 1", "y": "100644 0:0 b'1' 1"},
    pax({b"size": b"0"}) + header("x", size=1024) + padded(file("y", b"1")),
)
