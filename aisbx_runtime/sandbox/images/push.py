"""An image of the store to where skopeo can bring it: a registry, a layout, another engine's store.

What registries want of whoever writes there is handed to skopeo; it is neither read nor kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox import tools
from aisbx_runtime.sandbox.errors import InputError, SandboxError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.manifest import INDEX
from aisbx_runtime.sandbox.images.names import TRANSPORTS, normalised
from aisbx_runtime.sandbox.images.pull import Access
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.store import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.images.manifest import Descriptor
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store

# Those that keep the manifest as it is; the others write one of their own.
_FAITHFUL = ("docker", "oci", "oci-archive", "dir")


@dataclass(frozen=True, slots=True)
class Pushed:
    """name: of the image in the store. target: where it went. digest: of its manifest here."""

    name: str
    target: str
    digest: str


def names_a_place(reference: str) -> bool:
    """Tell a reference with a transport, `docker://registry/name`, from the mere name of an image.

    `docker:27` is a name: Docker's own image is called so.
    """
    transport, colon, rest = reference.partition(":")
    if not colon or transport not in TRANSPORTS:
        return False
    return transport != "docker" or rest.startswith("//")


def check_place(target: str) -> str:
    """Return a place as `normalised` writes it. Raises InputError, HostError without skopeo."""
    tools.need("skopeo", "setpriv")
    if not names_a_place(target):
        raise InputError(
            "an image is pushed to a place, and this is a name",
            where=target,
            hint=f"write docker://REGISTRY/{target}, or oci:DIRECTORY:TAG (skopeo(1))",
        )
    return normalised(target)


def push(
    store: Store,
    name: str,
    target: str,
    *,
    access: Access | None = None,
    progress: Progress | None = None,
) -> Pushed:
    """Copy an image of the store to another place.

    name: of the image, as listed. target: a reference with its transport; paths are the caller's.
    access: how the registry is reached.
    Raises NotFoundError for an image that is not there, InputError for a target that is no place,
    HostError where skopeo is missing, SandboxError with what it said where it fails.
    """
    place_name = check_place(target)
    found = layout.find(store, normalised(name))
    told = progress or Silence()
    # gc must not take the blobs away while skopeo reads them, whatever becomes of the name.
    with layout.unnamed(store), store.workplace("push") as place:
        _write_layout(f"{place}/layout", found)
        total_bytes = _total_bytes(store, found)
        told.step(f"pushing to {place_name}", total_bytes)

        def watch(pid: int) -> None:
            told.advance(min(tools.bytes_done(pid, "rchar"), total_bytes))

        held = tools.Place(place, store.lock_of(place))
        faithful = place_name.partition(":")[0] in _FAITHFUL
        try:
            tools.run(
                [
                    "skopeo",
                    "copy",
                    "--quiet",
                    *(["--preserve-digests"] if faithful else []),
                    f"--src-shared-blob-dir={store.place('layout/blobs')}",
                    *(access or Access()).options(place_name, held, "dest-"),
                    f"oci:{place}/layout",
                    place_name,
                ],
                held,
                watch=watch,
            )
        except tools.ToolError as error:
            raise SandboxError("cannot push the image", where=place_name, why=error.why) from error
        told.advance(total_bytes)
    return Pushed(normalised(name), place_name, found.digest)


def _write_layout(path: str, image: Descriptor) -> None:
    """Make a layout of one image, whose blobs are elsewhere: it needs no name then."""
    os.mkdir(path, 0o700)
    write_whole(f"{path}/oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [image.value()]}
    write_whole(f"{path}/index.json", json.dumps(index).encode())


def _total_bytes(store: Store, image: Descriptor) -> int:
    manifest = layout.manifest(store, image.digest)
    return manifest.config.size + sum(blob.size for blob in manifest.layers)
