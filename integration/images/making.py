"""Images made by hand, byte by byte: good ones, and those that no tool would write.

Nothing here is on disk but what `write_image` writes: an OCI layout with one image, tagged `x`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TAG = "x"
END = bytes(1024)
# A root file system in which nothing runs, and that is whole.
SOUND = ("etc/", ("etc/passwd", b"root:x:0:0::/:/bin/sh\n"), ("hello", b"hello\n"))


def header(
    path: bytes | str,
    kind: bytes = b"0",
    *,
    target: bytes = b"",
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    device: tuple[int, int] = (0, 0),
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    tail: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """Return one header block; a field given as bytes is written as it is."""
    name = path.encode() if isinstance(path, str) else path

    def number(value: int | bytes, length: int) -> bytes:
        if isinstance(value, bytes):
            return value.ljust(length, b"\0")
        return b"%0*o\0" % (length - 1, value)

    block = (
        name[:100].ljust(100, b"\0")
        + number(mode, 8)
        + number(uid, 8)
        + number(gid, 8)
        + number(size, 12)
        + number(1_600_000_000, 12)
        + b" " * 8
        + kind
        + target[:100].ljust(100, b"\0")
        + magic
        + bytes(64)
        + number(device[0], 8)
        + number(device[1], 8)
        + prefix.ljust(155, b"\0")
    )
    block = block.ljust(512 - len(tail), b"\0") + tail
    sum_ = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + sum_ + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def file(path: bytes | str, content: bytes = b"", **fields) -> bytes:
    return header(path, b"0", size=len(content), **fields) + padded(content)


def directory(path: bytes | str, **fields) -> bytes:
    return header(path, b"5", **{"mode": 0o755, **fields})


def symlink(path: bytes | str, target: bytes | str) -> bytes:
    text = target.encode() if isinstance(target, str) else target
    return header(path, b"2", target=text, mode=0o777)


def hardlink(path: bytes | str, target: bytes | str) -> bytes:
    text = target.encode() if isinstance(target, str) else target
    return header(path, b"1", target=text)


def pax(records: dict[bytes, bytes] | list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """Return an extended header for the member that follows."""
    pairs = records.items() if isinstance(records, dict) else records
    return pax_text(b"".join(record(name, value) for name, value in pairs), kind)


def record(name: bytes, value: bytes) -> bytes:
    rest = b" " + name + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def pax_text(content: bytes, kind: bytes = b"x") -> bytes:
    return header("pax", kind, size=len(content)) + padded(content)


def gnu_long(content: bytes, kind: bytes = b"L") -> bytes:
    """Return GNU's header for a long name (L) or a long target (K)."""
    content += b"\0"
    return header("././@LongLink", kind, size=len(content), magic=b"ustar  \0") + padded(content)


def layer(*members: bytes | str | tuple[str, bytes], end: bytes = END) -> bytes:
    """Return an archive: blocks as they are, `path/` a directory, (path, content) a file."""
    blocks = b""
    for member in members:
        if isinstance(member, tuple):
            blocks += file(*member)
        elif isinstance(member, str):
            blocks += directory(member)
        else:
            blocks += member
    return blocks + end


def sound(extra: bytes = b"") -> bytes:
    return layer(*SOUND, extra)


class Image:
    """An OCI layout with one image of these archives, lowest first.

    compress: gzip, zstd or empty. change_config, change_manifest: are called with the document.
    stored: what is stored of each archive, in the place of what compress makes.
    """

    def __init__(
        self,
        path: str,
        *layers: bytes,
        compress: str = "gzip",
        config: dict | None = None,
        stored: list[bytes] | None = None,
        change_config=None,
        change_manifest=None,
    ) -> None:
        self.path = path
        os.makedirs(f"{path}/blobs/sha256", exist_ok=True)
        inner = {
            "os": "linux",
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
            "config": {"Env": ["PATH=/bin"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(item) for item in layers]},
        }
        if change_config:
            change_config(inner)
        suffix = f"+{compress}" if compress else ""
        blobs = stored or [compressed(item, compress) for item in layers]
        self.manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put(text_of(inner), CONFIG),
            "layers": [self.put(item, f"{LAYER}{suffix}") for item in blobs],
        }
        if change_manifest:
            change_manifest(self.manifest)
        self.descriptor = self.put(text_of(self.manifest), MANIFEST)
        self.write("oci-layout", {"imageLayoutVersion": "1.0.0"})
        self.index([{**self.descriptor, "annotations": {"org.opencontainers.image.ref.name": TAG}}])

    @property
    def reference(self) -> str:
        return f"oci:{self.path}:{TAG}"

    @property
    def digest(self) -> str:
        return str(self.descriptor["digest"])

    def index(self, manifests: list[dict]) -> None:
        self.write("index.json", {"schemaVersion": 2, "manifests": manifests})

    def write(self, name: str, document: object) -> None:
        with open(f"{self.path}/{name}", "wb") as out:
            out.write(text_of(document))

    def put(self, content: bytes, media_type: str) -> dict:
        digest = digest_of(content)
        with open(self.blob(digest), "wb") as out:
            out.write(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def blob(self, digest: str) -> str:
        return f"{self.path}/blobs/sha256/{digest.removeprefix('sha256:')}"


def text_of(document: object) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def compressed(content: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(content, 1, mtime=0)
    if how == "zstd":
        return subprocess.run(
            ["zstd", "-qc"], input=content, capture_output=True, check=True
        ).stdout
    return content
