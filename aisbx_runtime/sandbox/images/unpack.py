"""From the layout to a rootfs that is made once and never written to again.

KEY names what it was made of and how: `MANIFEST-vN`, and `-rootless` where a plain user unpacked
it, who cannot give files away. umoci extracts; everything was checked before (check.py).
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import NotFoundError, SandboxError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.check import check, check_space
from aisbx_runtime.sandbox.images.compression import Limit, unpacked
from aisbx_runtime.sandbox.images.document import parsed
from aisbx_runtime.sandbox.images.manifest import (
    COMPRESSIONS,
    LAYER,
    MANIFEST,
    Config,
    Descriptor,
    Manifest,
    config_from,
)
from aisbx_runtime.sandbox.store import full_disk, put_in_place, write_whole
from aisbx_runtime.sandbox.tools import Place, ToolError, bytes_done, need, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from aisbx_runtime.sandbox.images.check import Contents
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store

# Of the way in which a rootfs is made: another one gets another place.
VERSION = 1
TAG = "checked"


@dataclass(frozen=True, slots=True)
class Rootfs:
    """A rootfs in the store. path: of the directory. size_bytes: of its files, on the disk."""

    key: str
    path: str
    digest: str
    config: Config
    size_bytes: int
    files: int


def key_of(digest: str) -> str:
    """Return the key of what this user makes of a manifest."""
    rootless = "-rootless" if os.geteuid() else ""
    return f"{digest.removeprefix('sha256:')}-v{VERSION}{rootless}"


def digest_of(key: str) -> str:
    """Return the manifest of a key."""
    return f"sha256:{key.partition('-')[0]}"


def rootfs(store: Store, key: str) -> Rootfs:
    """Return a rootfs that is there. Raises NotFoundError."""
    path = store.place("rootfs", key, "image.json")
    try:
        with open(path, "rb") as file:
            document = parsed(file.read(), path)
    except FileNotFoundError as error:
        raise NotFoundError("the image is not unpacked", where=key) from error
    return Rootfs(
        key,
        store.place("rootfs", key, "rootfs"),
        document.at("digest").text(),
        config_from(document.at("config")),
        document.at("size_bytes").number(),
        document.at("files").number(),
    )


def unpack(store: Store, digest: str, progress: Progress) -> Rootfs:
    """Make the rootfs of a manifest that is in the layout, where there is none; return it.

    Another one who makes the same is waited for. Raises InputError for an image that breaks the
    rules, HostError for a full disk, SandboxError with what umoci said where it fails.
    """
    key = key_of(digest)
    if os.path.exists(store.place("rootfs", key)):
        return rootfs(store, key)
    need("umoci", "setpriv", "sync")

    def waiting() -> None:
        progress.step("waiting for another aisbx that unpacks the same image")

    with store.making(f"rootfs-{key}", waiting):
        if os.path.exists(store.place("rootfs", key)):
            return rootfs(store, key)
        with full_disk(store), store.workplace("unpack") as path:
            _make(store, digest, Place(path, store.lock_of(path)), progress)
    return rootfs(store, key)


def _make(store: Store, digest: str, place: Place, progress: Progress) -> None:
    image = layout.manifest(store, digest)
    config = layout.config(store, image)
    if any(COMPRESSIONS[layer.media_type] == "zstd" for layer in image.layers):
        need("zstd")
    blobs = os.path.join(place.path, "image/blobs/sha256")
    os.makedirs(blobs)
    for blob in {item.digest: item for item in (image.config, *image.layers)}.values():
        # From here on gc cannot take it, and what is checked is what umoci reads.
        _link(store, blob, blobs)

    def opened(digest: str) -> BinaryIO:
        return layout.open_regular(os.path.join(blobs, digest.removeprefix("sha256:")))

    contents = check(image, config, opened, place, progress)
    check_space(place.path, contents.size_bytes, contents.files, "unpack the image")
    _write_layout(_without_zstd(image, config, opened, place, progress), place)
    made = os.path.join(place.path, "made")
    os.mkdir(made, 0o700)
    _extract(contents, made, place, progress)
    write_whole(os.path.join(made, "image.json"), _facts(digest, config, contents))
    progress.step("writing to the disk")
    # syncfs(2): what is put in place must be there after a power failure as well.
    run(["sync", "--file-system", made], place)
    key = key_of(digest)
    with store.shared():
        put_in_place(made, store.place("rootfs", key))


def _link(store: Store, blob: Descriptor, blobs: str) -> None:
    path = layout.blob_path(store, blob.digest)
    try:
        os.link(path, os.path.join(blobs, os.path.basename(path)), follow_symlinks=False)
    except FileNotFoundError as error:
        raise NotFoundError(
            "a blob of the image is missing", where=path, hint="pull the image again"
        ) from error


def _without_zstd(
    image: Manifest,
    config: Config,
    opened: Callable[[str], BinaryIO],
    place: Place,
    progress: Progress,
) -> Manifest:
    """Return the image with plain layers in the place of zstd ones, which umoci 0.4 cannot read."""
    layers: list[Descriptor] = []
    for layer, diff_id in zip(image.layers, config.diff_ids, strict=True):
        if COMPRESSIONS[layer.media_type] != "zstd":
            layers.append(layer)
            continue
        progress.step(f"decompressing {layer.digest}")
        path = os.path.join(place.path, "image/blobs/sha256", diff_id.removeprefix("sha256:"))
        limit = Limit(layer.digest, 1 << 62)
        with (
            open(path, "wb") as out,
            opened(layer.digest) as file,
            unpacked(file, "zstd", limit, place) as read,
        ):
            while chunk := read():
                out.write(chunk)
        layers.append(Descriptor(LAYER, diff_id, limit.out_bytes))
    return Manifest(image.config, tuple(layers), {})


def _write_layout(image: Manifest, place: Place) -> None:
    """Write an OCI layout with this one image: of the stranger's documents, only the config."""
    top = os.path.join(place.path, "image")
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": image.config.value(),
            "layers": [layer.value() for layer in image.layers],
        }
    ).encode()
    blob = layout.blob_of(content, MANIFEST)
    write_whole(os.path.join(top, "blobs/sha256", blob.digest.removeprefix("sha256:")), content)
    index = {
        "schemaVersion": 2,
        "manifests": [{**blob.value(), "annotations": {layout.NAME: TAG}}],
    }
    write_whole(os.path.join(top, "index.json"), json.dumps(index).encode())
    write_whole(os.path.join(top, "oci-layout"), b'{"imageLayoutVersion": "1.0.0"}')


def _extract(contents: Contents, made: str, place: Place, progress: Progress) -> None:
    progress.step(f"unpacking {contents.files} files", contents.size_bytes)

    def watch(pid: int) -> None:
        progress.advance(min(bytes_done(pid, "wchar"), contents.size_bytes))

    words = ["umoci", "raw", "unpack", "--image", f"{place.path}/image:{TAG}"]
    if os.geteuid():
        words.append("--rootless")
    try:
        run([*words, os.path.join(made, "rootfs")], place, watch=watch)
    except ToolError as error:
        raise SandboxError("cannot unpack the image", why=error.why) from error
    progress.advance(contents.size_bytes)


def _facts(digest: str, config: Config, contents: Contents) -> bytes:
    return json.dumps(
        {
            "version": 1,
            "digest": digest,
            "size_bytes": contents.size_bytes,
            "files": contents.files,
            "unpacked": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "config": config.document.value,
        }
    ).encode()
