"""What people call an image, and the one way to write it.

A name begins with its transport, as skopeo wants it: `alpine` is
`docker://docker.io/library/alpine:latest`. A path is absolute, so that a name means the same
wherever it is said. Nothing here reads anything; the hot command imports this module.
"""

from __future__ import annotations

from aisbx_runtime.sandbox.errors import InputError

# skopeo(1), IMAGE NAMES. Not taken: `sif`, `ostree` and `tarball`, which need more than skopeo.
TRANSPORTS = (
    "docker", "oci", "oci-archive", "docker-archive", "dir", "containers-storage", "docker-daemon",
)  # fmt: skip
LONGEST = 1024
LONGEST_FILE_NAME = 200
DEFAULT_DOMAIN = "docker.io"

_LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
_TAG = _LOWER + "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-"
_HEX = "0123456789abcdef"


def normalised(reference: str) -> str:
    """Return the one way to write what a person wrote.

    Raises InputError for what names no image.
    """
    if not reference:
        raise InputError("an image is wanted, and the name is empty")
    if len(reference) > LONGEST:
        raise InputError(f"the name of an image is longer than {LONGEST} characters")
    if not reference.isprintable():
        raise InputError(
            "the name of an image has characters that cannot be printed", where=ascii(reference)
        )
    transport, colon, rest = reference.partition(":")
    if not colon or transport not in TRANSPORTS:
        if rest.startswith("//"):
            raise InputError(
                f"there is no transport {transport!r}",
                where=reference,
                hint=f"use one of: {', '.join(TRANSPORTS)}",
            )
        return f"docker://{_registry_name(reference, reference)}"
    if transport == "docker":
        # `docker:27` is an image of that name, too.
        inner = rest[2:] if rest.startswith("//") else reference
        return f"docker://{_registry_name(inner, reference)}"
    return _local_name(transport, rest, reference)


def _local_name(transport: str, rest: str, whole: str) -> str:
    if not rest:
        raise InputError(f"nothing follows the transport {transport!r}", where=whole)
    import os

    if transport == "dir":
        return f"dir:{os.path.abspath(rest)}"
    if transport in {"oci", "oci-archive", "docker-archive"}:
        path, colon, tag = rest.partition(":")
        if not path:
            raise InputError("the name has no path", where=whole)
        return f"{transport}:{os.path.abspath(path)}{colon}{tag}"
    return whole


def file_name(name: str) -> str:
    """Return the name of a file that stands for a normalised name: readable where it is short."""
    kept = _TAG
    encoded = name.encode(errors="surrogateescape")
    text = "".join(chr(byte) if chr(byte) in kept else f"%{byte:02X}" for byte in encoded)
    if len(text) <= LONGEST_FILE_NAME:
        return text
    import hashlib

    return hashlib.sha256(encoded).hexdigest()


def repository(name: str) -> str:
    """Return a `docker://` name without its tag and digest."""
    rest = name.partition("@")[0]
    head, slash, last = rest.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def is_digest(text: str) -> bool:
    """Tell whether text is a sha256 digest as OCI writes it: no other algorithm is taken."""
    algorithm, _, value = text.partition(":")
    return algorithm == "sha256" and len(value) == 64 and all(letter in _HEX for letter in value)


def _registry_name(text: str, whole: str) -> str:
    """Return DOMAIN/PATH:TAG or DOMAIN/PATH@DIGEST of a name in a registry."""
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise InputError(
            f"{digest!r} is no digest", where=whole, hint="write sha256: and 64 hexadecimal digits"
        )
    domain, slash, path = rest.partition("/")
    if not slash or not _is_domain(domain):
        domain, path = DEFAULT_DOMAIN, rest
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    path, colon, tag = path.partition(":")
    if colon and not _is_tag(tag):
        raise InputError(f"{tag!r} is no tag", where=whole)
    if not _is_path(path):
        raise InputError(
            f"{path!r} is no name of an image",
            where=whole,
            hint="write NAME, NAME:TAG, REGISTRY/NAME:TAG, or TRANSPORT:WHAT (skopeo(1))",
        )
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    if digest:
        # skopeo takes no tag beside a digest, and the digest says it all.
        return f"{domain}/{path}@{digest}"
    return f"{domain}/{path}:{tag or 'latest'}"


def _is_domain(text: str) -> bool:
    """Tell a registry from the first part of a path, as every engine does."""
    host, colon, port = text.partition(":")
    if not (text == "localhost" or "." in text or colon):
        return False
    return (not colon or (port.isascii() and port.isdigit())) and all(
        part and all(letter in _TAG and letter not in "._" for letter in part)
        for part in host.split(".")
    )


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= 128 and text[0] not in ".-" and all(letter in _TAG for letter in text)


def _is_path(text: str) -> bool:
    # distribution's reference grammar: lower case, single separators between alphanumerics.
    return 0 < len(text) <= 255 and all(_is_path_component(part) for part in text.split("/"))


def _is_path_component(text: str) -> bool:
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    if any(letter not in _LOWER and letter not in "._-" for letter in text):
        return False
    return ".." not in text and "___" not in text and "._" not in text and "_." not in text
