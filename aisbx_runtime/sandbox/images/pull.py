"""From anywhere that skopeo reaches into the store's layout: resolved, copied, checked, named.

Everything is copied into a workplace first. skopeo would write a manifest over the one that is
there, in place; a kill at that moment would leave half of it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError, SandboxError
from aisbx_runtime.sandbox.images import layout, platforms
from aisbx_runtime.sandbox.images.check import check_space
from aisbx_runtime.sandbox.images.document import LONGEST_BYTES, parsed
from aisbx_runtime.sandbox.images.manifest import (
    DOCKER_MANIFEST,
    MANIFEST,
    MOST_LAYERS,
    Descriptor,
    Platform,
    config_of,
    descriptor_of,
    index_of,
    is_index,
    manifest_of,
)
from aisbx_runtime.sandbox.images.names import file_name, normalised, repository
from aisbx_runtime.sandbox.store import full_disk, write_whole
from aisbx_runtime.sandbox.tools import Place, ToolError, need, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aisbx_runtime.sandbox.images.manifest import Manifest
    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store

TAG = "pulled"


@dataclass(frozen=True, slots=True)
class Access:
    """How a registry is reached; every field goes to skopeo.

    authfile: of `podman login` or `skopeo login`. credentials: USER:PASSWORD, which never shows in
    a list of processes. cert_dir: *.crt, *.cert, *.key. tls_verify: None is skopeo's default.
    """

    authfile: str = ""
    credentials: str = ""
    cert_dir: str = ""
    tls_verify: bool | None = None

    def options(self, name: str, place: Place, prefix: str = "") -> list[str]:
        """Return skopeo's options. prefix: `src-` or `dest-` of skopeo copy."""
        made: list[str] = []
        authfile = self.authfile
        if self.credentials and name.startswith("docker://"):
            authfile = os.path.join(place.path, "auth.json")
            host = name.removeprefix("docker://").partition("/")[0]
            auth = base64.b64encode(self.credentials.encode()).decode()
            write_whole(authfile, json.dumps({"auths": {host: {"auth": auth}}}).encode())
        if authfile:
            made += [f"--{prefix}authfile", os.path.abspath(authfile)]
        if self.cert_dir:
            made += [f"--{prefix}cert-dir", os.path.abspath(self.cert_dir)]
        if self.tls_verify is not None:
            made += [f"--{prefix}tls-verify={str(self.tls_verify).lower()}"]
        return made


@dataclass(frozen=True, slots=True)
class Source:
    """What a name means now, where it comes from. digest: of a manifest or of an index."""

    name: str
    pinned: str
    digest: str
    layers: tuple[Descriptor, ...]


def pull(
    store: Store,
    reference: str,
    progress: Progress,
    *,
    platform: Platform | None = None,
    access: Access | None = None,
) -> Descriptor:
    """Bring an image into the layout under its normalised name; return its manifest's descriptor.

    Nothing is copied that is there already. Another one who pulls the same name is waited for.
    Raises InputError for an image that breaks its own word, SandboxError with what skopeo said
    where it fails, HostError where the machine lacks a program or room.
    """
    need("skopeo", "setpriv")
    name = normalised(reference)
    # What a killed pull has left may be what fills the disk.
    store.sweep()
    wanted = platform or platforms.of_host()

    def waiting() -> None:
        progress.step(f"waiting for another aisbx that pulls {name}")

    with (
        store.making(f"pull-{file_name(name)}", waiting),
        full_disk(store),
        store.workplace("pull") as path,
    ):
        place = Place(path, store.lock_of(path))
        progress.step(f"looking for {name}")
        source = _resolved(name, wanted, place, access or Access())
        found = _known(store, source, wanted)
        if found is None:
            made = _copied(store, source, wanted, place, access or Access(), progress)
            return _taken(store, source, made, wanted, progress)
        with layout.unnamed(store):
            # gc may have been faster.
            if layout.is_complete(store, found.digest):
                layout.add_image(store, name, found.digest, found.size, source=source.digest)
                return found
        raise SandboxError("the image was removed meanwhile", where=name, hint="pull it again")


def _resolved(name: str, wanted: Platform, place: Place, access: Access) -> Source:
    """Ask what a name means, and choose the platform."""
    content = _raw(name, wanted, place, access)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    pinned = name
    if is_index(content, name):
        if not name.startswith("docker://"):
            # skopeo chooses, by what it is told, and it is checked afterwards.
            return Source(name, name, digest, ())
        chosen = platforms.choose(index_of(content, name), wanted, name)
        pinned = f"{repository(name)}@{chosen.digest}"
        content = _raw(pinned, wanted, place, access)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != chosen.digest:
            raise InputError("a manifest has another content than its digest says", where=pinned)
    elif name.startswith("docker://"):
        # What was looked at is what is copied, whatever the tag means by then.
        pinned = f"{repository(name)}@{digest}"
    return Source(name, pinned, digest, _layers_of(content, name))


def _raw(name: str, wanted: Platform, place: Place, access: Access) -> bytes:
    words = ["inspect", "--raw", *access.options(name, place), name]
    content = _skopeo(words, name, wanted, place)
    if len(content) > LONGEST_BYTES:
        raise InputError(f"its manifest is longer than {LONGEST_BYTES >> 20} MiB", where=name)
    return content


def _layers_of(content: bytes, where: str) -> tuple[Descriptor, ...]:
    """Return the layers of a manifest that skopeo will bring into OCI's form."""
    document = parsed(content, where)
    media_type = document.at("mediaType").text(MANIFEST)
    if media_type == MANIFEST and document.at("layers").value is not None:
        # What would be refused afterwards is not copied.
        return manifest_of(content, where).layers
    if media_type != DOCKER_MANIFEST:
        # Docker's first schema has no sizes.
        return ()
    layers = tuple(descriptor_of(item) for item in document.at("layers").items())
    if len(layers) > MOST_LAYERS:
        raise InputError(f"layers: {len(layers)}, more than {MOST_LAYERS}", where=where)
    return layers


def _known(store: Store, source: Source, wanted: Platform) -> Descriptor | None:
    """Return the image that was made of the same source for the same platform, if it is whole."""
    for image in layout.names(store).values():
        if image.annotations.get(layout.SOURCE) != source.digest:
            continue
        if not layout.is_complete(store, image.digest):
            continue
        found = layout.config(store, layout.manifest(store, image.digest)).platform
        if platforms.fits(found, wanted):
            return image
    return None


def _copied(
    store: Store,
    source: Source,
    wanted: Platform,
    place: Place,
    access: Access,
    progress: Progress,
) -> str:
    """Copy the image into a layout in the workplace; return its path."""
    image = os.path.join(place.path, "image")
    blobs = os.path.join(image, "blobs/sha256")
    os.makedirs(blobs)
    total = sum(layer.size for layer in source.layers)
    progress.step(f"copying {source.name}", total)
    linked = sum(layer.size for layer in source.layers if _link(store, layer, blobs))
    check_space(place.path, total - linked, len(source.layers), f"copy {source.name}")

    def watch(pid: int) -> None:
        del pid
        progress.advance(min(_size_of(image) + _size_of(blobs), total))

    words = [
        "copy",
        *access.options(source.name, place, "src-"),
        source.pinned,
        f"oci:{image}:{TAG}",
    ]
    _skopeo(words, source.name, wanted, place, watch)
    progress.advance(total)
    return image


def _link(store: Store, layer: Descriptor, blobs: str) -> bool:
    """Give skopeo a layer that the store has already, if it is as it should be."""
    path = layout.blob_path(store, layer.digest)
    try:
        layout.check_file(path, layer)
        os.link(path, os.path.join(blobs, os.path.basename(path)), follow_symlinks=False)
    except (SandboxError, FileNotFoundError):
        # Not there, or damaged: skopeo brings it, and the damaged one is replaced.
        return False
    return True


def _size_of(directory: str) -> int:
    size = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            # skopeo renames what is complete.
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def _taken(
    store: Store,
    source: Source,
    image: str,
    wanted: Platform,
    progress: Progress,
) -> Descriptor:
    """Check what was copied, move it into the store's layout, and name it."""
    made = copied_image(image)
    content = _read(image, made)
    found = manifest_of(content, source.name)
    config = config_of(_read(image, found.config), source.name)
    platforms.check(config.platform, wanted, source.name)
    blobs = _ordered(found, made)
    progress.step("checking digests", sum(blob.size for blob in blobs))
    with layout.unnamed(store):
        done = 0
        for blob in blobs:
            layout.take_blob(store, _path_in(image, blob), blob)
            done += blob.size
            progress.advance(done)
        layout.add_image(store, source.name, made.digest, made.size, source=source.digest)
    return made


def _ordered(found: Manifest, made: Descriptor) -> list[Descriptor]:
    """Return the blobs of an image, each once, the manifest last: then the rest is there."""
    unique = {blob.digest: blob for blob in (*found.layers, found.config)}
    return [*unique.values(), made]


def copied_image(image: str) -> Descriptor:
    """Return the one manifest of a layout that skopeo has made."""
    path = os.path.join(image, "index.json")
    with layout.open_regular(path) as file:
        manifests = index_of(file.read(LONGEST_BYTES + 1), path)
    if len(manifests) != 1:
        raise InputError("skopeo has copied more than one image", where=path)
    return manifests[0]


def _path_in(image: str, blob: Descriptor) -> str:
    return os.path.join(image, "blobs/sha256", blob.digest.removeprefix("sha256:"))


def _read(image: str, blob: Descriptor) -> bytes:
    """Read a manifest or config out of a workplace's layout, and hold it against its digest."""
    path = _path_in(image, blob)
    layout.check_file(path, blob)
    with layout.open_regular(path) as file:
        return file.read(LONGEST_BYTES + 1)


def _skopeo(
    words: list[str],
    name: str,
    wanted: Platform,
    place: Place,
    watch: Callable[[int], None] | None = None,
) -> bytes:
    choice = [f"--override-os={wanted.os}", f"--override-arch={wanted.architecture}"]
    if wanted.variant:
        choice.append(f"--override-variant={wanted.variant}")
    temporary = os.path.join(place.path, "tmp")
    os.makedirs(temporary, exist_ok=True)
    try:
        return run(["skopeo", *choice, f"--tmpdir={temporary}", *words], place, watch=watch)
    except ToolError as error:
        raise SandboxError("cannot pull the image", where=name, why=error.why) from error
