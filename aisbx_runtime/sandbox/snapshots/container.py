"""A sandbox as a bundle: where its upper directory is and how it is to be read."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.snapshots.tree_file import Base
from aisbx_runtime.sandbox.tree import Mapping, Overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.store import Store

FACTS = "aisbx.json"
LONGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Container:
    """What snapshots need of a bundle. path: of its directory."""

    id: str
    path: str
    base: Base
    upper: str
    mapping: Mapping | None
    overlay: Overlay

    @property
    def known(self) -> str:
        """Where the last snapshot's digests are kept."""
        return f"{self.path}/known.json"

    @property
    def marker(self) -> str:
        """What is there while a snapshot has paused it."""
        return f"{self.path}/paused-by-snapshot"


def container_of(store: Store, text: str) -> Container:
    """Return the sandbox that a person names: by its name, or by a path with a `/` in it."""
    path = os.path.abspath(text) if "/" in text else store.place("containers", text)
    if text in {"", ".", ".."}:
        raise InputError(f"{text!r} is no name of a sandbox")
    where = f"{path}/{FACTS}"
    try:
        fd = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"no sandbox {text!r}", hint="aisbx ls lists them") from error
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InputError("the facts of a sandbox are no file", where=where)
        data = file.read(LONGEST_BYTES)
    try:
        facts = json.loads(data)
        image = facts["image"]
        base = Base(str(image["reference"]), str(image["digest"]), str(facts["rootfs"]))
        given = facts.get("mapping")
        mapping = Mapping.of(given["uid"], given["gid"]) if given else None
        return Container(
            id=str(facts["id"]),
            path=path,
            base=base,
            upper=str(facts["upper"]),
            mapping=mapping,
            # Whoever may not have `trusted` attributes mounts with userxattr.
            overlay=Overlay("user" if mapping or os.geteuid() != 0 else "trusted"),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            "the facts of a sandbox are spoilt", where=where, why=f"{type(error).__name__}: {error}"
        ) from error
