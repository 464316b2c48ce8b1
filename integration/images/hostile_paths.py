"""Layers that aim at what lies outside, by paths and by links."""

from __future__ import annotations

import os

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
    file,
    gnu_long,
    hardlink,
    header,
    layer,
    pax,
    symlink,
)

ACCEPTS = "accepts"
# ---- paths

UP = "a path goes up"
refused("a file above the root", UP, ("../../canary", b"x"), umoci=ACCEPTS)
refused("up and down again", UP, ("etc/../../canary", b"x"), umoci=ACCEPTS)
refused("up inside the root", UP, ("etc/../x", b"x"), umoci=ACCEPTS)
refused("a directory above the root", UP, "../d/", umoci=ACCEPTS)
refused("up in a PAX path", UP, pax({b"path": b"../../canary"}), ("x", b"x"), umoci=ACCEPTS)
refused("up in a GNU long name", UP, gnu_long(b"../../canary"), ("x", b"x"), umoci=ACCEPTS)
refused("up in the ustar prefix", UP, file("canary", b"x", prefix=b".."), umoci=ACCEPTS)
refused("up as a symlink's place", UP, symlink("../l", "/"), umoci=ACCEPTS)
refused("up in a whiteout's place", UP, ("../.wh.canary", b""))
taken("an absolute path is the image's own", {"x": "100644 0:0 b'1' 1"}, ("/x", b"1"))
taken(
    "an absolute path of the host",
    {},
    lambda ground: pax({b"path": ground + b"/canary"}) + file("x", b"hostile"),
)
refused("a path with a NUL", "NUL", pax({b"path": b"a\0b"}), ("x", b"1"))
refused("a path that is empty", "no path", file(b"", b"1"))
refused("slashes alone, as a file", "ends with a slash", file(b"//"))
refused("a name of 256 bytes", "longer than 255", pax({b"path": b"n" * 256}), ("x", b"1"))
refused("a path of 5000 bytes", "longer than 4095", gnu_long(b"d/" * 2500 + b"x"), ("x", b"1"))
refused("a path 300 directories deep", "deeper than", gnu_long(b"d/" * 300 + b"x"), ("x", b"1"))
refused("a file whose path ends with a slash", "ends with a slash", file("x/", b"1"))
refused("a symlink whose path ends with a slash", "ends with a slash", symlink("x/", "/"))
taken(
    "a name with a newline and an escape", {"\x1b[2J\n": "100644 0:0 b'1' 1"}, ("\x1b[2J\n", b"1")
)
taken("a name that is no UTF-8", {os.fsdecode(b"\xff"): "100644 0:0 b'1' 1"}, file(b"\xff", b"1"))

# ---- symbolic links

PARENT = "its parent is a symlink"
refused(
    "through a symlink to the host",
    PARENT,
    lambda ground: symlink("s", ground),
    ("s/canary", b"hostile"),
    umoci=ACCEPTS,
)
refused(
    "through a symlink that goes up",
    PARENT,
    symlink("s", "../.."),
    ("s/canary", b"x"),
    umoci=ACCEPTS,
)
refused(
    "through a chain of symlinks",
    PARENT,
    symlink("a", "b"),
    symlink("b", ".."),
    ("a/x", b"1"),
    umoci=ACCEPTS,
)
refused(
    "through a symlink to the root", PARENT, symlink("s", "/"), ("s/etc/x", b"1"), umoci=ACCEPTS
)
refused("through a symlink to itself", PARENT, symlink("s", "s"), ("s/x", b"1"))
refused("a directory through a symlink", PARENT, symlink("s", "../.."), "s/d/", umoci=ACCEPTS)
refused(
    "a symlink through a symlink", PARENT, symlink("s", "/etc"), symlink("s/l", "x"), umoci=ACCEPTS
)
CASES.append(
    Case(
        "a directory becomes a symlink in the next layer",
        lambda ground: [
            layer(*SOUND, "d/"),
            layer(symlink("d", ground)),
            layer(("d/canary", b"hostile")),
        ],
        PARENT,
        umoci=ACCEPTS,
    )
)
refused_above(
    "a symlink and files through it", PARENT, symlink("etc", "/"), ("etc/x", b"1"), umoci=ACCEPTS
)
taken(
    "a symlink out of the root",
    {"l": "120777 0:0 -> ../../../canary"},
    symlink("l", "../../../canary"),
)
taken(
    "the owner of a symlink is not that of its target",
    {"l": "120777 4242:4242 -> ../../../canary"},
    header("l", b"2", target=b"../../../canary", uid=4242, gid=4242, mode=0o777),
)
taken(
    "a long target",
    {"l": f"120777 0:0 -> {'t' * 200}"},
    gnu_long(b"t" * 200, b"K"),
    symlink("l", "x"),
)
refused("a symlink to nowhere", "a link has no target", symlink("l", ""))
refused("a target with a NUL", "NUL", pax({b"linkpath": b"a\0b"}), symlink("l", "x"))
refused("the root as a symlink", "the root cannot become", symlink(".", "/"))
refused("the root as a symlink, with a slash", "ends with a slash", symlink("./", "/"))
refused("the root as a fifo", "the root cannot become", header("/.", b"6"))
refused("the root as a hardlink", "the root cannot become", hardlink(".", "hello"))

# ---- hard links

LINK = "a hardlink to"
refused("a hardlink to the host", LINK, lambda ground: hardlink("h", ground + b"/canary"))
refused("a hardlink that goes up", UP, hardlink("h", "../../canary"))
refused("a hardlink up, by a GNU long target", UP, gnu_long(b"../canary", b"K"), hardlink("h", "x"))
refused("a hardlink up, by PAX", UP, pax({b"linkpath": b"../canary"}), hardlink("h", "hello"))
refused(
    "a hardlink to a symlink to the host",
    LINK,
    symlink("s", "../../../canary"),
    hardlink("h", "s"),
)
refused("a hardlink to a symlink", LINK, symlink("s", "hello"), hardlink("h", "s"), umoci=ACCEPTS)
refused(
    "a hardlink through a symlink",
    LINK,
    symlink("s", "etc"),
    hardlink("h", "s/passwd"),
    umoci=ACCEPTS,
)
refused("a hardlink to a directory", LINK, hardlink("h", "etc"))
refused("a hardlink to the root", LINK, hardlink("h", "."))
refused(
    "a hardlink to a device",
    LINK,
    header("n", b"3", device=(1, 3)),
    hardlink("h", "n"),
    umoci=ACCEPTS,
)
refused("a hardlink to a fifo", LINK, header("f", b"6"), hardlink("h", "f"), umoci=ACCEPTS)
refused_above("a hardlink to its own name", LINK, hardlink("hello", "hello"))
refused_above("a hardlink into what it replaces", LINK, hardlink("etc", "etc/passwd"))
refused("a hardlink to itself", LINK, hardlink("h", "h"))
refused("a hardlink to what comes later", LINK, hardlink("h", "late"), ("late", b"1"))
refused(
    "a hardlink with content",
    "has a size",
    header("h", b"1", target=b"hello", size=512) + bytes(512),
)
refused_above(
    "a hardlink to what the layer takes away", LINK, (".wh.hello", b""), hardlink("h", "hello")
)
refused_above("a hardlink to a whiteout", LINK, (".wh.x", b""), hardlink("h", ".wh.x"))
taken_above(
    "a hardlink to a file of a lower layer",
    {"h": "100644 0:0 b'hello\\n' 2", "hello": "100644 0:0 b'hello\\n' 2"},
    hardlink("h", "hello"),
)
