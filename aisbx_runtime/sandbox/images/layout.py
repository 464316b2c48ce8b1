"""The store's one OCI image layout: names to manifests, blobs by digest.

index.json is the truth about names: one descriptor for each, whose annotation
`org.opencontainers.image.ref.name` is the normalised name. Blobs come in whole, checked, by one
rename; they may be there without a name while somebody makes an image of them (`unnamed`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat

from aisbx_runtime.sandbox.errors import HostError, InputError, NotFoundError
from aisbx_runtime.sandbox.images.document import LONGEST_BYTES
from aisbx_runtime.sandbox.images.manifest import (
    INDEX,
    MANIFEST,
    Config,
    Descriptor,
    Manifest,
    config_of,
    index_of,
    manifest_of,
)
from aisbx_runtime.sandbox.images.names import file_name
from aisbx_runtime.sandbox.store import put_in_place, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import BinaryIO

    from aisbx_runtime.sandbox.store import Store

NAME = "org.opencontainers.image.ref.name"
# What the name meant where it was pulled from: the digest of a manifest or of an index.
SOURCE = "dev.aisbx.source.digest"
BLOBS = "layout/blobs/sha256"
CHUNK_BYTES = 1 << 20


def blob_path(store: Store, digest: str) -> str:
    """Return where a blob is, or would be."""
    return store.place(BLOBS, digest.removeprefix("sha256:"))


def has_blob(store: Store, blob: Descriptor) -> bool:
    """Tell whether a blob is there; whole, as only whole ones come in."""
    try:
        return os.stat(blob_path(store, blob.digest), follow_symlinks=False).st_size == blob.size
    except FileNotFoundError:
        return False


def open_blob(store: Store, digest: str) -> BinaryIO:
    """Open a blob to be read. Raises NotFoundError where it is not there."""
    return open_regular(blob_path(store, digest))


def read_blob(store: Store, digest: str) -> bytes:
    """Return a manifest or config. Raises InputError where its content is not the digest's."""
    with open_blob(store, digest) as file:
        content = file.read(LONGEST_BYTES + 1)
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise InputError(
            "a blob of the store has another content than its name says",
            where=blob_path(store, digest),
            why=f"its digest is {found}",
            hint="remove that file and pull the image again",
        )
    return content


def manifest(store: Store, digest: str) -> Manifest:
    """Return a manifest."""
    return manifest_of(read_blob(store, digest), f"manifest {digest}")


def config(store: Store, of: Manifest) -> Config:
    """Return the config of an image."""
    return config_of(read_blob(store, of.config.digest), f"config {of.config.digest}")


def names(store: Store) -> dict[str, Descriptor]:
    """Return the images of the store by name, sorted."""
    path = store.place("layout/index.json")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    found = index_of(content, path)
    return {
        item.annotations[NAME]: item for item in sorted(found, key=lambda x: x.annotations[NAME])
    }


def find(store: Store, name: str) -> Descriptor:
    """Return the manifest that a normalised name stands for. Raises NotFoundError."""
    found = names(store).get(name)
    if found is None:
        raise NotFoundError("there is no such image", where=name, hint=f"aisbx image pull {name}")
    return found


def is_complete(store: Store, digest: str) -> bool:
    """Tell whether a manifest is there with all that it names."""
    if not os.path.exists(blob_path(store, digest)):
        return False
    try:
        of = manifest(store, digest)
    except NotFoundError:
        return False
    return all(has_blob(store, blob) for blob in (of.config, *of.layers))


@contextlib.contextmanager
def unnamed(store: Store) -> Generator[None]:
    """Keep gc from the blobs while some of them have no name yet; gc does not wait."""
    fd = os.open(store.place("locks/blobs"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def take_blob(store: Store, path: str, blob: Descriptor) -> None:
    """Move a file of a workplace into the layout, after its size and digest were checked.

    Held by `unnamed`. Raises InputError where they are not as the descriptor says.
    """
    check_file(path, blob)
    os.chmod(path, 0o600)
    put_in_place(path, blob_path(store, blob.digest))


def put_blob(store: Store, workplace: str, content: bytes, media_type: str) -> Descriptor:
    """Put a small blob that is in memory into the layout. Held by `unnamed`."""
    blob = blob_of(content, media_type)
    path = os.path.join(workplace, f"blob-{blob.digest.removeprefix('sha256:')}")
    write_whole(path, content)
    put_in_place(path, blob_path(store, blob.digest))
    return blob


def blob_of(content: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of bytes."""
    return Descriptor(media_type, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


def check_file(path: str, blob: Descriptor) -> None:
    """Read a file to its end and to the disk. Raises InputError where it is another blob."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size == blob.size:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        os.fsync(file.fileno())
    if size != blob.size:
        raise InputError(
            "a blob has another size than its descriptor says",
            where=blob.digest,
            why=f"{size} bytes, not {blob.size}",
        )
    if f"sha256:{digest.hexdigest()}" != blob.digest:
        raise InputError(
            "a blob has another content than its digest says",
            where=blob.digest,
            why=f"the content has sha256:{digest.hexdigest()}",
            hint="pull again; if it stays so, the image was damaged or tampered with",
        )


def add_image(
    store: Store,
    name: str,
    digest: str,
    size: int,
    *,
    source: str = "",
    annotations: dict[str, str] | None = None,
) -> None:
    """Let a normalised name stand for a manifest whose blobs are all there.

    The short way from the name to a rootfs (refs/) goes where it led to another image.

    Held by `unnamed`. Not held: the store's lock, nor `making("index")`.
    """
    extra = {SOURCE: source} if source else {}
    made = Descriptor(MANIFEST, digest, size, {**(annotations or {}), **extra, NAME: name})
    with store.making("index"), store.shared():
        known = names(store)
        if name not in known or known[name].digest != digest:
            # First: whoever takes the short way must not get the old image for the new name.
            _unrefer(store, name)
        _write_index(store, {**known, name: made})


def remove_name(store: Store, name: str) -> Descriptor:
    """Forget a name; what it stood for stays until gc. Raises NotFoundError.

    Not held: the store's lock, nor `making("index")`.
    """
    with store.making("index"), store.exclusive():
        found = find(store, name)
        _unrefer(store, name)
        _write_index(store, {key: value for key, value in names(store).items() if key != name})
    return found


def _unrefer(store: Store, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(store.place("refs", file_name(name)))


def _write_index(store: Store, images: dict[str, Descriptor]) -> None:
    content = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {**image.value(), "annotations": image.annotations} for image in images.values()
        ],
    }
    path = store.place("layout/index.json")
    try:
        write_whole(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise HostError(
            "cannot write the list of images",
            where=path,
            why=f"write: {errno.errorcode[error.errno or errno.EIO]}",
        ) from error


def open_regular(path: str) -> BinaryIO:
    """Open a regular file to be read, and nothing else: no link, fifo or device."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError("a blob is missing", where=path, why="open: ENOENT") from error
    except OSError as error:
        name = errno.errorcode[error.errno or errno.EIO]
        raise InputError("cannot open a blob", where=path, why=f"open: {name}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError("a blob is no regular file", where=path)
    return open(fd, "rb")
