"""Entries of any kind, and a tar archive read back as entries by Python's own tarfile."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile

from hypothesis import strategies as st

from aisbx_runtime.sandbox.tree import Entry

TYPES = {
    tarfile.REGTYPE: "file",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "directory",
    tarfile.FIFOTYPE: "fifo",
}
XATTR = "SCHILY.xattr."
OPAQUE = ".wh..wh..opq"


def _usable(name):
    return name not in {b".", b".."} and not name.startswith(b".wh.")


_bytes = st.integers(1, 255).filter(lambda byte: byte != ord("/"))
names = st.one_of(
    st.sampled_from([b"a", b"a-b", b"a.b", b"b", b"etc", "ü".encode(), b"\xff\xfe", b"new\nline"]),
    st.lists(_bytes, min_size=1, max_size=255).map(bytes).filter(_usable),
    st.integers(90, 255).map(lambda length: b"n" * length),
)
ids = st.one_of(st.integers(0, 65536), st.sampled_from([2097151, 2097152, 2**32 - 2]))
times = st.one_of(
    st.integers(0, 2**34 * 10**9),
    st.sampled_from([0, -1, -1_500_000_000, 10**18, 8**11 * 10**9, 1_700_000_000_000_000_001]),
)
xattr_names = st.sampled_from(
    ["security.capability", "user.a", "user.a b\n", "user.ü", "user.\udcff"]
)
xattrs = st.dictionaries(xattr_names, st.binary(min_size=1, max_size=64), max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
# With `.wh.` before it, it has to be a name as well.
LONGEST_WHITEOUT = 251
KINDS = ["directory", "file", "symlink", "fifo", "socket", "character", "block", "whiteout"]


@st.composite
def trees(draw):
    """Return (entries, contents by path) of an upper directory, the root included."""
    made = {".": Entry(path=".", kind="directory", mode=0o755, mtime_ns=draw(times))}
    contents = {}
    for _ in range(draw(st.integers(0, 12))):
        parents = [entry.path for entry in made.values() if entry.kind == "directory"]
        parent = draw(st.sampled_from(parents))
        name = os.fsdecode(draw(names))
        path = name if parent == "." else f"{parent}/{name}"
        if path in made or len(os.fsencode(path)) > 1000:
            continue
        files = [entry for entry in made.values() if entry.kind not in NO_SECOND_NAME]
        if files and draw(st.integers(0, 3)) == 0:
            first = draw(st.sampled_from(files))
            made[path] = linked(first, path)
            continue
        kind = draw(st.sampled_from(KINDS))
        if kind == "whiteout" and len(os.fsencode(name)) > LONGEST_WHITEOUT:
            continue
        made[path] = draw(of_kind(path, kind))
        if made[path].kind == "file":
            contents[path] = draw(st.binary(max_size=1300))
            made[path] = with_content(made[path], contents[path])
    return list(made.values()), contents


NO_SECOND_NAME = {"directory", "hardlink", "whiteout"}


def linked(first, path):
    return Entry(**{**fields(first), "path": path, "kind": "hardlink", "target": first.path})


def with_content(entry, content):
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Entry(**{**fields(entry), "size": len(content), "digest": digest})


def fields(entry):
    return {name: getattr(entry, name) for name in Entry.__slots__}


@st.composite
def of_kind(draw, path, kind):
    if kind == "whiteout":
        return Entry(path=path, kind=kind)
    return Entry(
        path=path,
        kind=kind,
        mode=0o777 if kind == "symlink" else draw(st.integers(0, 0o7777)),
        uid=draw(ids),
        gid=draw(ids),
        mtime_ns=draw(times),
        target=os.fsdecode(draw(names)) if kind == "symlink" else "",
        # 0:0 is overlay's own whiteout, which no image may have.
        device=draw(st.tuples(st.integers(0, 4095), st.integers(1, 2**20 - 1)))
        if kind in {"character", "block"}
        else (0, 0),
        opaque=kind == "directory" and draw(st.booleans()),
        xattrs=draw(xattrs),
    )


def opener(contents):
    """Return an `open_content` that knows the names of hardlinks as well."""

    def open_content(entry):
        return io.BytesIO(contents[entry.path])

    return open_content


def read_back(archive):
    """Return the entries of an archive in its order; whiteouts as in the upper directory."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", errorlevel=2) as tar:
        for member in tar:
            entry = _entry(tar, member)
            parent, _, name = entry.path.rpartition("/")
            if name == OPAQUE:
                inside = parent or "."
                found[inside] = Entry(**{**fields(found[inside]), "opaque": True})
                continue
            if name.startswith(".wh."):
                path = f"{parent}/{name[4:]}" if parent else name[4:]
                entry = Entry(path=path, kind="whiteout")
            assert entry.path not in found
            found[entry.path] = entry
    return list(found.values())


def _entry(tar, member):
    kind = TYPES[member.type]
    content = tar.extractfile(member).read() if kind == "file" else b""
    assert len(content) == member.size
    records = {
        name.removeprefix(XATTR): value.encode("utf-8", "surrogateescape")
        for name, value in member.pax_headers.items()
        if name.startswith(XATTR)
    }
    return Entry(
        path=member.name,
        kind=kind,
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        mtime_ns=_time_ns(member),
        size=member.size,
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}" if kind == "file" else "",
        target=member.linkname,
        device=(member.devmajor, member.devminor) if kind in {"character", "block"} else (0, 0),
        xattrs=tuple(sorted(records.items())),
    )


def _time_ns(member):
    text = member.pax_headers.get("mtime")
    if text is None:
        return int(member.mtime) * 10**9
    sign = -1 if text.startswith("-") else 1
    seconds, _, fraction = text.lstrip("-").partition(".")
    return sign * (int(seconds) * 10**9 + int(fraction.ljust(9, "0")))
