"""A sandbox as snapshots see it: where its upper directory is and how it is to be read."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.snapshots import known
from aisbx_runtime.sandbox.snapshots.tree_file import Base
from aisbx_runtime.sandbox.tree import Mapping, Overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.containers import Sandbox
    from aisbx_runtime.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Container:
    """What snapshots need of a bundle. path: of its directory."""

    path: str
    base: Base
    upper: str
    mapping: Mapping | None
    overlay: Overlay

    @property
    def known(self) -> str:
        """Where the last snapshot's digests are kept."""
        return f"{self.path}/{known.FILE}"

    @property
    def marker(self) -> str:
        """What is there while a snapshot has paused it."""
        return f"{self.path}/paused-by-snapshot"


def container_of(sandbox: Sandbox) -> Container:
    """Return what snapshots need.

    Raises InputError for a sandbox on a copy of its image, and for a bundle changed by hand.
    """
    if not sandbox.upper:
        raise InputError(
            "the sandbox has a copy of its image: nobody knows what it changed",
            where=sandbox.path,
            hint="aisbx-runtime doctor says what this machine lacks for sharing it",
        )
    mapping = Mapping.of(sandbox.uid_map, sandbox.gid_map) if sandbox.uid_map else None
    return Container(
        path=sandbox.path,
        base=Base(sandbox.reference, sandbox.digest, sandbox.key),
        upper=sandbox.upper,
        mapping=mapping,
        overlay=overlay_of(sandbox.path),
    )


def overlay_of(bundle: str) -> Overlay:
    """Return how the overlay of a bundle marks things: its own mount options say it."""
    path = f"{bundle}/config.json"
    try:
        with open(path, encoding="utf-8") as file:
            mounts = json.load(file)["mounts"]
        options = [
            mount["options"]
            for mount in mounts
            if mount["destination"] == "/" and mount["type"] == "overlay"
        ]
        return Overlay("user" if "userxattr" in options[-1] else "trusted")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            "the config of a bundle has no overlay at /",
            where=path,
            why=f"{type(error).__name__}: {error}",
            hint="only what `aisbx` has made can be kept",
        ) from error


def turn_of(store: Store, bundle: str) -> str:
    """Return the path of the lock of whoever snapshots or replaces a sandbox."""
    value = hashlib.sha256(os.fsencode(bundle)).hexdigest()
    return store.place("locks", f"snapshot-{value[:32]}")
