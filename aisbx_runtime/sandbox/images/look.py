"""What the store has, for people: `image ls`, `image inspect`, and taking a name away."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.gc import uses_of
from aisbx_runtime.sandbox.images.names import normalised
from aisbx_runtime.sandbox.images.unpack import Rootfs, key_of, rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisbx_runtime.sandbox.images.gc import Holder
    from aisbx_runtime.sandbox.images.manifest import Config, Descriptor, Manifest
    from aisbx_runtime.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the store. rootfs: None where it is not unpacked. created: as it says."""

    name: str
    descriptor: Descriptor
    manifest: Manifest
    config: Config
    rootfs: Rootfs | None

    @property
    def size_bytes(self) -> int:
        """Of its layers, as they are stored."""
        return sum(layer.size for layer in self.manifest.layers)

    @property
    def created(self) -> str:
        """When, by its own word; empty where it says nothing."""
        return self.config.document.at("created").text("")


def images(store: Store) -> tuple[list[Image], dict[str, InputError | NotFoundError]]:
    """Return every image that can be read, by name, and what is wrong with the others."""
    found: list[Image] = []
    broken: dict[str, InputError | NotFoundError] = {}
    for name, descriptor in layout.names(store).items():
        try:
            found.append(_image(store, name, descriptor))
        except (InputError, NotFoundError) as error:
            broken[name] = error
    return found, broken


def image(store: Store, reference: str) -> Image:
    """Return one image of the store. Raises NotFoundError."""
    name = normalised(reference)
    return _image(store, name, layout.find(store, name))


def _image(store: Store, name: str, descriptor: Descriptor) -> Image:
    manifest = layout.manifest(store, descriptor.digest)
    made = None
    with contextlib.suppress(NotFoundError):
        made = rootfs(store, key_of(descriptor.digest))
    return Image(name, descriptor, manifest, layout.config(store, manifest), made)


def forget(store: Store, reference: str, holders: Sequence[Holder] = ()) -> list[str]:
    """Take an image's name away; return who else uses what it stood for.

    What nobody uses then is for gc. Raises NotFoundError.
    """
    name = normalised(reference)
    gone = layout.remove_name(store, name)
    with store.exclusive():
        uses, _ = uses_of(store, holders)
    return uses.by.get(gone.digest, [])
