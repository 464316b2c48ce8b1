"""A reference becomes a rootfs: the one way in for whoever wants to start something."""

from __future__ import annotations

import os

from aisbx_runtime.sandbox.errors import NotFoundError
from aisbx_runtime.sandbox.images import layout, platforms
from aisbx_runtime.sandbox.images.names import file_name, normalised
from aisbx_runtime.sandbox.images.pull import pull
from aisbx_runtime.sandbox.images.unpack import Rootfs, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.images.manifest import Descriptor, Platform
    from aisbx_runtime.sandbox.images.pull import Access
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store


def rootfs_of(
    store: Store,
    reference: str,
    progress: Progress,
    *,
    platform: Platform | None = None,
    access: Access | None = None,
    refresh: bool = False,
) -> Rootfs:
    """Return the rootfs of an image; it is pulled and unpacked where it is not there yet.

    refresh: ask again what the name means. platform: of what is pulled; an image of another one
    is pulled again. Between this and a reference to the rootfs (a bundle, a pin), gc may remove it:
    hold `store.shared()`, look whether it is there, and make the reference.
    """
    name = normalised(reference)
    image = None if refresh else _there(store, name, platform)
    if image is None:
        image = pull(store, reference, progress, platform=platform, access=access)
    made = unpack(store, image.digest, progress)
    _refer(store, name, made)
    return made


def _there(store: Store, name: str, platform: Platform | None) -> Descriptor | None:
    image = layout.names(store).get(name)
    if image is None or not layout.is_complete(store, image.digest):
        return None
    if platform is not None:
        found = layout.config(store, layout.manifest(store, image.digest)).platform
        if not platforms.fits(found, platform):
            return None
    return image


def _refer(store: Store, name: str, made: Rootfs) -> None:
    """Make refs/NAME, the short way from a name to its rootfs, where the name still means that."""
    path = store.place("refs", file_name(name))
    target = f"../rootfs/{made.key}"
    with store.making("index"), store.shared():
        image = layout.names(store).get(name)
        if image is None or image.digest != made.digest or not os.path.exists(made.path):
            raise NotFoundError(
                "the image was removed or replaced meanwhile", where=name, hint="try again"
            )
        try:
            if os.readlink(path) == target:
                return
        except FileNotFoundError:
            pass
        new = f"{path}.new-{os.getpid()}"
        os.symlink(target, new)
        os.rename(new, path)
