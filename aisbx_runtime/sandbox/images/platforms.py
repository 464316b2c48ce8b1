"""Which of an image's variants runs here, or was asked for."""

from __future__ import annotations

import os

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.manifest import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisbx_runtime.sandbox.images.manifest import Descriptor

# uname(2) -> Go's names (GOARCH), which images use, and the variants that run here, the best first.
MACHINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("amd64", ("", "v1")),
    "aarch64": ("arm64", ("v8", "")),
    "armv7l": ("arm", ("v7", "v6", "v5", "")),
    "armv6l": ("arm", ("v6", "v5", "")),
    "i686": ("386", ("",)),
    "ppc64le": ("ppc64le", ("",)),
    "riscv64": ("riscv64", ("",)),
    "s390x": ("s390x", ("",)),
}
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


def of_host() -> Platform:
    """Return this machine's platform."""
    machine = os.uname().machine
    return Platform("linux", MACHINES.get(machine, (machine, ()))[0])


def parse(text: str) -> Platform:
    """Read OS/ARCHITECTURE[/VARIANT], or an architecture alone. Raises InputError."""
    parts = text.split("/")
    if len(parts) > 3 or not all(part and LETTERS.issuperset(part) for part in parts):
        raise InputError(
            f"{text!r} is no platform", hint="write OS/ARCHITECTURE[/VARIANT], such as linux/arm64"
        )
    return Platform("linux", parts[0]) if len(parts) == 1 else Platform(*parts)


def choose(manifests: Sequence[Descriptor], wanted: Platform, where: str) -> Descriptor:
    """Return the manifest of an index for a platform. Raises InputError where there is none."""
    fitting = [
        (rank, item)
        for item in manifests
        if item.platform and (rank := _rank(item.platform, wanted)) is not None
    ]
    if not fitting:
        there = sorted(
            {
                str(item.platform)
                for item in manifests
                if item.platform and item.platform.os != "unknown"
            }
        )
        raise InputError(
            f"the image is not there for {wanted}",
            where=where,
            why=f"it is for {', '.join(there) or 'no platform at all'}",
            hint="choose one of them by --platform",
        )
    return min(fitting, key=lambda pair: pair[0])[1]


def check(found: Platform, wanted: Platform, where: str) -> None:
    """Raise InputError where an image is for another platform than is wanted."""
    if not fits(found, wanted):
        raise InputError(
            f"the image is for {found}, not for {wanted}",
            where=where,
            hint=f"take it all the same with --platform {found}",
        )


def fits(found: Platform, wanted: Platform) -> bool:
    """Tell whether an image of one platform is what is wanted."""
    return _rank(found, wanted) is not None


def _rank(found: Platform, wanted: Platform) -> int | None:
    """Return how well a platform fits, 0 the best; None: not at all."""
    if (found.os, found.architecture) != (wanted.os, wanted.architecture):
        return None
    if wanted.variant:
        # An arm64 image without a variant is v8: there is no other.
        names = {found.variant, "v8" if found.architecture == "arm64" else ""}
        return 0 if wanted.variant in names else None
    for architecture, variants in MACHINES.values():
        if architecture == wanted.architecture and found.variant in variants:
            return variants.index(found.variant)
    return 100
