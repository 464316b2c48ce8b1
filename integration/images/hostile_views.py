"""Layers that say two things of one path, and whiteouts."""

from __future__ import annotations

from integration.images.hostile import (
    CASES,
    Case,
    refused,
    refused_above,
    taken,
    taken_above,
)
from integration.images.making import (
    SOUND,
    directory,
    layer,
    symlink,
)

ACCEPTS = "accepts"
PARENT = "its parent is a symlink"
# ---- the same path twice

TWICE = "twice in one layer"
refused("a file twice", TWICE, ("x", b"1"), ("x", b"2"), umoci=ACCEPTS)
refused("a file, then a symlink", TWICE, ("x", b"1"), symlink("x", "/"), umoci=ACCEPTS)
refused(
    "a symlink, then a file through it", TWICE, symlink("x", "../c"), ("x", b"1"), umoci=ACCEPTS
)
refused("a symlink, then a directory", TWICE, symlink("x", "/"), "x/", ("x/y", b"1"), umoci=ACCEPTS)
refused("one path written in two ways", TWICE, ("x", b"1"), (".//x", b"2"), umoci=ACCEPTS)
refused(
    "a directory in use becomes a file", "used before it", ("d/x", b"1"), ("d", b"2"), umoci=ACCEPTS
)
refused("a file as a directory", "its parent is a file", ("hello/x", b"1"))
taken("a directory twice", {"d": "40700 0:0"}, "d/", directory("d", mode=0o700))
taken_above(
    "a directory becomes a file",
    {"etc": "100644 0:0 b'1' 1"},
    ("etc", b"1"),
    missing=("etc/passwd",),
)
taken_above(
    "a file becomes a directory", {"hello/x": "100644 0:0 b'1' 1"}, "hello/", ("hello/x", b"1")
)
CASES.append(
    Case(
        "a symlink becomes a directory",
        lambda ground: [layer(*SOUND, symlink("s", ground)), layer("s/", ("s/x", b"1"))],
        found={"s": "40755 0:0", "s/x": "100644 0:0 b'1' 1"},
    )
)
taken(
    "names that differ in case",
    {"Hello": "100644 0:0 b'1' 1", "hello": "100644 0:0 b'hello\\n' 1"},
    ("Hello", b"1"),
)

# ---- whiteouts

NAMELESS = "a whiteout names no file"
refused_above(
    "a whiteout of the directory above the root", NAMELESS, (".wh...", b""), umoci="removes"
)
refused_above("a whiteout of the root", NAMELESS, (".wh..", b""))
refused_above("a whiteout of the root, by another way", NAMELESS, ("etc/.wh...", b""))
refused_above("a whiteout without a name", NAMELESS, ("etc/.wh.", b""))
refused_above("a whiteout of a whiteout", NAMELESS, (".wh..wh.x", b""), umoci=ACCEPTS)
refused_above("what aufs keeps for itself", NAMELESS, (".wh..wh.plnk", b""), umoci=ACCEPTS)
refused_above("a whiteout with content", "is an empty file", (".wh.hello", b"1"), umoci=ACCEPTS)
refused_above("a whiteout that is a directory", "is an empty file", ".wh.hello/", umoci=ACCEPTS)
refused_above(
    "a whiteout that is a symlink", "is an empty file", symlink(".wh.hello", "/"), umoci=ACCEPTS
)
refused_above("a file below a whiteout", "no directory", (".wh.etc/x", b""), umoci=ACCEPTS)
refused_above(
    "a file and its whiteout", "a file and its whiteout", ("x", b"1"), (".wh.x", b""), umoci=ACCEPTS
)
refused_above("a whiteout twice", TWICE, (".wh.hello", b""), (".wh.hello", b""), umoci=ACCEPTS)
refused_above(
    "opaque twice", TWICE, ("etc/.wh..wh..opq", b""), ("etc/.wh..wh..opq", b""), umoci=ACCEPTS
)
CASES.append(
    Case(
        "a whiteout through a symlink",
        lambda ground: [layer(*SOUND, symlink("s", ground)), layer(("s/.wh.canary", b""))],
        PARENT,
        umoci=ACCEPTS,
    )
)
CASES.append(
    Case(
        "an opaque directory through a symlink",
        lambda _: [layer(*SOUND, symlink("s", "../..")), layer(("s/.wh..wh..opq", b""))],
        PARENT,
        umoci=ACCEPTS,
    )
)
CASES.append(
    Case(
        "a whiteout of a symlink takes the link",
        lambda ground: [layer(*SOUND, symlink("s", ground + b"/canary")), layer((".wh.s", b""))],
        missing=("s",),
    )
)
taken_above("a whiteout takes a file", {}, (".wh.hello", b""), missing=("hello", ".wh.hello"))
taken_above("a whiteout takes a directory", {}, (".wh.etc", b""), missing=("etc", "etc/passwd"))
taken_above("a whiteout of nothing", {}, (".wh.nothing", b""), missing=(".wh.nothing",))
taken("a whiteout in the lowest layer", {}, (".wh.nothing", b""), missing=(".wh.nothing",))
taken_above(
    "an opaque directory",
    {"etc/x": "100644 0:0 b'1' 1"},
    ("etc/x", b"1"),
    ("etc/.wh..wh..opq", b""),
    missing=("etc/passwd", "etc/.wh..wh..opq"),
)
taken_above(
    "an opaque root",
    {"x": "100644 0:0 b'1' 1"},
    (".wh..wh..opq", b""),
    ("x", b"1"),
    missing=("hello",),
)
