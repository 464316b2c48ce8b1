"""A base image and a layer to a new image: config, history, manifest, annotations, into the layout.

Nothing here depends on when, where or by whom it is called: the same base and the same layer give
the same digest. See image-spec 1.1.1: config.md, manifest.md, annotations.md.
"""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.images import layer, layout
from aisbx_runtime.sandbox.images.manifest import CONFIG, LAYER, MANIFEST, MOST_LAYERS, Descriptor
from aisbx_runtime.sandbox.images.names import normalised
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.store import full_disk, put_in_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

    from aisbx_runtime.sandbox.images.document import Value
    from aisbx_runtime.sandbox.images.manifest import Config, Manifest
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store
    from aisbx_runtime.sandbox.tree import Entry

GZIP_LAYER = f"{LAYER}+gzip"
CREATED_BY = "aisbx image pack"
SNAPSHOT = "dev.aisbx.snapshot"
BASE_DIGEST = "org.opencontainers.image.base.digest"
BASE_NAME = "org.opencontainers.image.base.name"
# A time that every reader of RFC 3339 takes: Go's refuses the year 10000.
_LAST_SECOND = 253402300799
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Packed:
    """An image that was made. name: as it is listed. sockets: how many files were left out."""

    name: str
    digest: str
    layer: Descriptor
    sockets: int


@dataclass(frozen=True, slots=True)
class Base:
    """What the new image stands on. name: its reference, normalised; empty: it has none."""

    digest: str
    manifest: Manifest
    config: Config
    name: str = ""


def base_of(store: Store, digest: str, name: str = "") -> Base:
    """Read an image of the store. Raises NotFoundError, InputError."""
    manifest = layout.manifest(store, digest)
    return Base(digest, manifest, layout.config(store, manifest), name)


def pack(
    store: Store,
    base: Base,
    entries: Iterable[Entry],
    open_content: Callable[[Entry], BinaryIO],
    reference: str,
    *,
    snapshot: str = "",
    progress: Progress | None = None,
) -> Packed:
    """Make the image of base and what changed, and let the reference stand for it.

    snapshot: the digest of the tree that the entries are of.
    Raises InputError for what no image can carry, HostError where a file changes meanwhile or the
    disk is full; nothing is changed then.
    """
    name = normalised(reference)
    told = progress or Silence()
    entries = list(entries)
    advance = layer.step(told, "packing what changed", entries)
    with layout.unnamed(store), store.workplace("pack") as place, full_disk(store):
        _check_layers(store, base)
        made = put_layer(
            store, place, lambda file: layer.write(entries, open_content, file, advance)
        )
        added = Descriptor(GZIP_LAYER, made.digest, made.size_bytes)
        image = put_image(
            store,
            place,
            derived_config(base.config, made),
            [*base.manifest.layers, added],
            annotations_of(base, snapshot),
        )
        layout.add_image(store, name, image.digest, image.size)
    return Packed(name, image.digest, added, made.sockets)


def _check_layers(store: Store, base: Base) -> None:
    if len(base.manifest.layers) >= MOST_LAYERS:
        raise InputError(
            f"an image cannot have more than {MOST_LAYERS} layers",
            where=base.name or base.digest,
            hint="make one layer of them: aisbx export, then aisbx init --rootfs",
        )
    for blob in base.manifest.layers:
        if not layout.has_blob(store, blob):
            raise NotFoundError(
                "a layer of the base image is not there any more",
                where=layout.blob_path(store, blob.digest),
                hint=f"aisbx image pull {base.name}" if base.name else "",
            )


def put_layer(store: Store, place: str, write: Callable[[BinaryIO], layer.Layer]) -> layer.Layer:
    """Put the layer that `write` writes into the layout. Held: `layout.unnamed`."""
    path = f"{place}/layer"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        made = write(file)
        file.flush()
        os.fsync(fd)
    put_in_place(path, layout.blob_path(store, made.digest))
    return made


def put_image(
    store: Store,
    place: str,
    config: dict[str, Value],
    layers: list[Descriptor],
    annotations: dict[str, Value],
) -> Descriptor:
    """Make an image of layers that are in the layout. Held: `layout.unnamed`."""
    config_blob = layout.put_blob(store, place, _json(config), CONFIG)
    manifest = manifest_of(config_blob, layers, annotations)
    return layout.put_blob(store, place, _json(manifest), MANIFEST)


def derived_config(base: Config, made: layer.Layer) -> dict[str, Value]:
    """Return the config of an image with one layer more: all that base says, and the layer."""
    said = {name: base.document.at(name).value for name in base.document.names()}
    created = said.get("created", _EPOCH) if made.newest_ns is None else time_text(made.newest_ns)
    history = [entry.value for entry in base.history]
    filled = sum(entry.at("empty_layer").value is not True for entry in base.history)
    # config.md: history has one entry for each layer. One that has none cannot get only ours.
    history += [{} for _ in range(len(base.diff_ids) - filled)]
    history.append({"created": created, "created_by": CREATED_BY})
    return {
        **said,
        "created": created,
        "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, made.diff_id]},
        "history": history,
    }


def annotations_of(base: Base, snapshot: str) -> dict[str, Value]:
    """Return what the manifest says of where the image comes from.

    Of base's annotations none is kept: they speak of base, or of whatever a stranger likes.
    """
    annotations: dict[str, Value] = {BASE_DIGEST: base.digest}
    # annotations.md: the reference in a registry. Another transport's is a path of this host,
    # which is nobody's business and would give one content as many digests as places.
    if base.name.startswith("docker://"):
        annotations[BASE_NAME] = base.name.removeprefix("docker://")
    if snapshot:
        annotations[SNAPSHOT] = snapshot
    return annotations


def manifest_of(
    config: Descriptor, layers: list[Descriptor], annotations: dict[str, Value]
) -> dict[str, Value]:
    """Return a manifest; of its descriptors only what says which blob they mean is kept."""
    made: dict[str, Value] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.value(),
        "layers": [item.value() for item in layers],
    }
    if annotations:
        made["annotations"] = annotations
    return made


def _json(document: dict[str, Value]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def time_text(time_ns: int) -> str:
    """Return a time as RFC 3339 has it, or the nearest one that it has."""
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    if not 0 <= seconds <= _LAST_SECOND:
        seconds, fraction_ns = (0, 0) if seconds < 0 else (_LAST_SECOND, 0)
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    fraction = f".{fraction_ns:09}".rstrip("0") if fraction_ns else ""
    # strftime does not pad the year on every libc.
    return f"{moment.isoformat().removesuffix('+00:00')}{fraction}Z"
