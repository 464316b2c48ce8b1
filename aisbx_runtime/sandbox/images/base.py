"""What sandboxes start on: a cached rootfs, and what the image's config became."""

from __future__ import annotations

import json

from aisbx_runtime.sandbox import prepared
from aisbx_runtime.sandbox.bundle import Base
from aisbx_runtime.sandbox.errors import NotFoundError
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.conversion import converted
from aisbx_runtime.sandbox.images.names import normalised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.sandbox.images.unpack import Rootfs
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store

SECCOMP = "profiles/seccomp/default.json"


def base_of(
    store: Store,
    library: str,
    reference: str,
    progress: Progress,
    tell: Callable[[str], None],
) -> Base:
    """Return what an image is to a sandbox, pulled and unpacked where it is not here.

    tell: is told what of the image is left out. Raises SandboxError.
    """
    return base_on(
        store, library, normalised(reference), rootfs_of(store, reference, progress), tell
    )


def base_on(
    store: Store, library: str, name: str, rootfs: Rootfs, tell: Callable[[str], None]
) -> Base:
    """Return what a rootfs is to a sandbox; it is kept for the next start."""
    found = prepared.load(library, store.path, rootfs.key, name)
    if found is not None:
        return found
    made = converted(rootfs.config.document, rootfs.path)
    if made.left_out:
        names = ", ".join(sorted(made.left_out))
        tell(f"labels of the image that became no annotation, as runtimes may obey them: {names}")
    base = Base(
        rootfs=rootfs.path, key=rootfs.key, reference=name, digest=rootfs.digest,
        config=made.config, seccomp=seccomp(library), entrypoint=made.entrypoint, cmd=made.cmd,
        volumes=made.volumes,
    )  # fmt: skip
    try:
        with store.shared():
            prepared.keep(library, store.path, base)
    except FileNotFoundError as error:
        raise NotFoundError(
            "the image is being removed", where=name, hint="pull it again"
        ) from error
    return base


def seccomp(library: str) -> str:
    """Return the list of system calls that sandboxes may make, as JSON."""
    with open(f"{library}/{SECCOMP}", encoding="utf-8") as file:
        return json.dumps(json.load(file))
