"""A snapshot as a file: canonical JSON, so that the same tree has the same id."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.tree import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Value = Mapping[str, "Value"] | Sequence["Value"] | str | int | None

VERSION = 1
# Of the name of a rootfs: it becomes a part of a path.
_KEY = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Base:
    """The image below: how a person calls it, its manifest's digest, the key of its rootfs."""

    reference: str
    digest: str
    rootfs: str


@dataclass(frozen=True, slots=True)
class Tree:
    """What a snapshot consists of."""

    base: Base
    entries: tuple[Entry, ...]


def encoded(tree: Tree) -> tuple[str, bytes]:
    """Return the id (`sha256:HEX`) and the bytes of a tree."""
    base = tree.base
    value: Value = {
        "version": VERSION,
        "base": {"reference": base.reference, "digest": base.digest, "rootfs": base.rootfs},
        "entries": [value_of(entry) for entry in tree.entries],
    }
    # ASCII: names that are no UTF-8 are lone surrogates, which JSON has as \udcXX.
    data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return f"sha256:{hashlib.sha256(data).hexdigest()}", data


def value_of(entry: Entry) -> dict[str, Value]:
    """Return the JSON of an entry: what is zero or empty is left out."""
    value: dict[str, Value] = {"path": entry.path, "kind": entry.kind}
    numbers = {
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime_ns": entry.mtime_ns,
        "size": entry.size,
    }
    value.update((name, number) for name, number in numbers.items() if number)
    texts = {"digest": entry.digest, "target": entry.target}
    value.update((name, text) for name, text in texts.items() if text)
    if any(entry.device):
        value["device"] = list(entry.device)
    if entry.opaque:
        value["opaque"] = True
    if entry.xattrs:
        value["xattrs"] = [
            [name, base64.b64encode(content).decode()] for name, content in entry.xattrs
        ]
    return value


def decoded(data: bytes, where: str) -> Tree:
    """Return the tree that `encoded` wrote. Raises InputError for anything else."""
    try:
        value = json.loads(data)
        if value["version"] != VERSION:
            raise InputError(f"a snapshot of version {value['version']!r}", where=where)
        base = _base(value["base"])
        entries = tuple([_entry(row) for row in value["entries"]])
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise InputError(
            "not a snapshot", where=where, why=f"{type(error).__name__}: {error}"
        ) from error
    tree = Tree(base, entries)
    # Byte for byte: a field that is not known, or two of a name, would be lost.
    if encoded(tree)[1] != data:
        raise InputError("not a snapshot as this program writes them", where=where)
    return tree


def _base(row: Mapping[str, Value]) -> Base:
    base = Base(_text(row, "reference"), _text(row, "digest"), _text(row, "rootfs"))
    if not is_digest(base.digest) or not set(base.rootfs) <= _KEY:
        raise ValueError("base")
    return base


def _entry(row: Mapping[str, Value]) -> Entry:
    device = row.get("device", (0, 0))
    xattrs = row.get("xattrs", ())
    if not isinstance(device, list | tuple) or not isinstance(xattrs, list | tuple):
        raise TypeError("device or xattrs")
    major, minor = device
    return Entry(
        path=_text(row, "path"),
        kind=_text(row, "kind"),
        mode=_number(row, "mode"),
        uid=_number(row, "uid"),
        gid=_number(row, "gid"),
        mtime_ns=_number(row, "mtime_ns", least=-LARGEST),
        size=_number(row, "size"),
        digest=_digest(row),
        target=_text(row, "target", ""),
        device=(_number({"device": major}, "device"), _number({"device": minor}, "device")),
        opaque=bool(row.get("opaque", False)),
        xattrs=tuple([_xattr(pair) for pair in xattrs]),
    )


def _text(row: Mapping[str, Value], name: str, default: str | None = None) -> str:
    value = row.get(name, default)
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _number(row: Mapping[str, Value], name: str, *, least: int = 0) -> int:
    value = row.get(name, 0)
    if not isinstance(value, int) or not least <= value < LARGEST:
        raise TypeError(name)
    return value


def _digest(row: Mapping[str, Value]) -> str:
    digest = _text(row, "digest", "")
    if digest and not is_digest(digest):
        raise ValueError(digest)
    return digest


def is_digest(text: str) -> bool:
    """Tell whether text is `sha256:HEX`."""
    value = text.removeprefix("sha256:")
    return len(text) == 71 and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _xattr(pair: Value) -> tuple[str, bytes]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise TypeError("xattrs")
    name, content = pair
    if not isinstance(name, str) or not isinstance(content, str):
        raise TypeError("xattrs")
    try:
        return name, base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ValueError("xattrs") from error
