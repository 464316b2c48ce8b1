"""What an image says of itself: descriptors, index, manifest and config, read and checked.

Pure: bytes in, frozen records out. What is not read here is not used anywhere: labels and
annotations are data to be shown, never options (CVE-2026-53488).
See image-spec 1.1.1: descriptor.md, image-index.md, manifest.md, config.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.document import LONGEST_BYTES, Document, parsed
from aisbx_runtime.sandbox.images.names import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.images.document import Value

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
# Media type of a layer -> how it is compressed. The deprecated nondistributable ones are the same.
COMPRESSIONS = {
    LAYER: "",
    f"{LAYER}+gzip": "gzip",
    f"{LAYER}+zstd": "zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
}
# Engines stop at 127, the depth that overlay mounts could have; skopeo slows down with each.
MOST_LAYERS = 128
MOST_MANIFESTS = 1000


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on. Empty strings: the image does not say."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        text = f"{self.os}/{self.architecture}"
        return f"{text}/{self.variant}" if self.variant else text


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob: what it is, its digest (sha256), its bytes."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def value(self) -> dict[str, Value]:
        """Return which blob is meant, as documents have it, and nothing of what else was said."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform. Layers: lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class Config:
    """What the image says of the process it wants; volumes and ports are sorted.

    Read as the image-spec names it; what becomes of it is decided elsewhere (conversion).
    document: the whole config, as data.
    """

    platform: Platform
    diff_ids: tuple[str, ...]
    user: str
    env: tuple[str, ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    working_dir: str
    stop_signal: str
    volumes: tuple[str, ...]
    exposed_ports: tuple[str, ...]
    labels: dict[str, str]
    history: tuple[Document, ...]
    document: Document


def descriptor_of(document: Document) -> Descriptor:
    """Read a descriptor."""
    digest = document.at("digest").text()
    if not is_digest(digest):
        raise document.at("digest").wrong("sha256: and 64 hexadecimal digits")
    if document.at("urls").texts():
        # An image must not make us ask at places of its choice; skopeo leaves such layers out.
        raise InputError(
            f"{document.path}.urls: the content lies elsewhere, and is not fetched from there",
            where=document.where,
            hint="pull an image that has all of its layers",
        )
    platform = document.at("platform")
    return Descriptor(
        document.at("mediaType").text(),
        digest,
        document.at("size").number(),
        document.at("annotations").text_map(),
        None if platform.value is None else platform_of(platform),
    )


def platform_of(document: Document) -> Platform:
    """Read what an image runs on, from a descriptor's platform or from a config."""
    return Platform(
        document.at("os").text(),
        document.at("architecture").text(),
        document.at("variant").text(""),
    )


def is_index(content: bytes, where: str) -> bool:
    """Tell an index (or Docker's manifest list) from a manifest."""
    document = parsed(content, where)
    said = document.at("mediaType").text("")
    if said:
        return said in {INDEX, DOCKER_INDEX}
    return document.at("manifests").value is not None


def index_of(content: bytes, where: str) -> tuple[Descriptor, ...]:
    """Read an index, or Docker's manifest list."""
    document = parsed(content, where)
    _check_version(document)
    manifests = list(document.at("manifests").items())
    if len(manifests) > MOST_MANIFESTS:
        raise InputError(f"manifests: more than {MOST_MANIFESTS}", where=where)
    return tuple(descriptor_of(item) for item in manifests)


def manifest_of(content: bytes, where: str) -> Manifest:
    """Read a manifest of an image that can be unpacked."""
    document = parsed(content, where)
    _check_version(document)
    said = document.at("mediaType")
    if said.text(MANIFEST) != MANIFEST:
        raise said.wrong(MANIFEST)
    config = descriptor_of(document.at("config"))
    if config.media_type != CONFIG:
        raise InputError(
            "config.mediaType: this is no image that can run, but something else in a registry",
            where=where,
            why=f"its media type is {config.media_type!r}",
        )
    if config.size > LONGEST_BYTES:
        raise document.at("config").at("size").wrong(f"no more than {LONGEST_BYTES >> 20} MiB")
    layers = list(document.at("layers").items())
    if len(layers) > MOST_LAYERS:
        raise InputError(f"layers: {len(layers)}, more than {MOST_LAYERS}", where=where)
    read = tuple(descriptor_of(item) for item in layers)
    for item, layer in zip(layers, read, strict=True):
        if layer.media_type not in COMPRESSIONS:
            raise item.at("mediaType").wrong("a layer that can be unpacked: tar, gzip or zstd")
    return Manifest(config, read, document.at("annotations").text_map())


def config_of(content: bytes, where: str) -> Config:
    """Read an image's config."""
    return config_from(parsed(content, where))


def config_from(document: Document) -> Config:
    """Read an image's config that is part of a document."""
    where = document.where
    platform = platform_of(document)
    rootfs = document.at("rootfs")
    if rootfs.at("type").text("layers") != "layers":
        raise rootfs.at("type").wrong('"layers"')
    diff_ids = tuple(rootfs.at("diff_ids").texts())
    for number, digest in enumerate(diff_ids):
        if not is_digest(digest):
            raise Document(digest, where, f"rootfs.diff_ids[{number}]").wrong("a sha256 digest")
    inner = document.at("config")
    if inner.value is None:
        inner = Document({}, where, "config")
    env = tuple(inner.at("Env").texts())
    for number, text in enumerate(env):
        if "=" not in text[1:]:
            raise Document(text, where, f"config.Env[{number}]").wrong("NAME=VALUE")
    return Config(
        platform,
        diff_ids,
        inner.at("User").text(""),
        env,
        tuple(inner.at("Entrypoint").texts()),
        tuple(inner.at("Cmd").texts()),
        inner.at("WorkingDir").text(""),
        inner.at("StopSignal").text(""),
        tuple(sorted(inner.at("Volumes").names())),
        tuple(sorted(inner.at("ExposedPorts").names())),
        inner.at("Labels").text_map(),
        tuple(document.at("history").items()),
        document,
    )


def _check_version(document: Document) -> None:
    version = document.at("schemaVersion")
    if version.number() != 2:
        raise version.wrong("2")
