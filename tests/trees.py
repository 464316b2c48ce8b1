"""Hypothesis strategies of the trees that a container can leave."""

from __future__ import annotations

import hashlib
import os

from hypothesis import strategies as st

from aisbx_runtime.sandbox.tree import Entry, order, text_of

ROOT = os.geteuid() == 0
NAMES = (
    st.binary(min_size=1, max_size=20)
    .filter(lambda raw: raw not in {b".", b".."} and not set(raw) & {0, 0x2F})
    .map(text_of)
) | st.sampled_from(["a", "a-b", "b", "x" * 255, ".wh.a", ".wh..wh..opq", "-", " \n", "\udcff"])
IDS = st.sampled_from([0, 1, 1000, 65534]) if ROOT else st.just(0)
# What ext4 can store, to the nanosecond; it clamps the first second of them.
TIMES = st.integers((1 - 2**31) * 10**9, (2**33) * 10**9)
XATTRS = st.dictionaries(
    st.sampled_from(["user.a", "user.overlay.opaque", *(["trusted.b"] if ROOT else [])]),
    st.binary(max_size=40),
    max_size=2,
).map(lambda found: tuple(sorted(found.items())))
KINDS = ["file", "directory", "symlink", "fifo", "socket", "whiteout"]
NODES = ["character", "block"] if ROOT else []


@st.composite
def made_of(draw, path, kind):
    """Draw an entry of this path, with content where it is a file."""
    if kind == "whiteout":
        return Entry(path, kind), b""
    content = draw(st.binary(max_size=30)) if kind == "file" else b""
    mode = draw(st.integers(0, 0o7777)) if ROOT else draw(st.integers(0o700, 0o777))
    return Entry(
        path,
        kind,
        mode=0o777 if kind == "symlink" else mode,
        uid=draw(IDS),
        gid=draw(IDS),
        mtime_ns=draw(TIMES),
        size=len(content),
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}" if kind == "file" else "",
        target=draw(NAMES) if kind == "symlink" else "",
        device=(draw(st.integers(1, 4095)), draw(st.integers(0, 255))) if kind in NODES else (0, 0),
        opaque=draw(st.booleans()) if kind == "directory" and path != "." else False,
        xattrs=draw(XATTRS) if kind in {"file", "directory"} else (),
    ), content


@st.composite
def trees(draw):
    """Draw entries in order, and what the files contain."""
    kinds = {".": "directory"}
    for _ in range(draw(st.integers(0, 12))):
        above = draw(st.sampled_from(sorted(p for p, kind in kinds.items() if kind == "directory")))
        path = draw(NAMES) if above == "." else f"{above}/{draw(NAMES)}"
        kinds.setdefault(path, draw(st.sampled_from([*KINDS, *NODES])))
    entries, contents, linkable = [], {}, []
    for path in sorted(kinds, key=order):
        if linkable and kinds[path] == "file" and draw(st.booleans()):
            target = draw(st.sampled_from(linkable))
            entries.append(Entry(path, "hardlink", target=target))
            continue
        entry, contents[path] = draw(made_of(path, kinds[path]))
        entries.append(entry)
        if entry.kind not in {"directory", "whiteout"}:
            linkable.append(path)
    return entries, contents
