"""What nothing refers to any more goes: rootfs, blobs, workplaces, pins.

Whoever holds something says so: names in index.json, bundles (in containers/ and pinned ones), and
what the caller passes as holders (snapshots). All of it is read while nobody can make a reference
(`store.exclusive`); what has none is moved away, and removed when the others may go on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, field

from aisbx_runtime.sandbox.bundle import FACTS
from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.document import parsed
from aisbx_runtime.sandbox.images.names import file_name, is_digest
from aisbx_runtime.sandbox.images.unpack import VERSION, digest_of, rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.store import Store

    # Called under store.exclusive(): it must not take that lock, nor wait for anybody.
    Holder = Callable[[Store], "Uses"]


@dataclass(slots=True)
class Uses:
    """What is in use: keys of rootfs, digests of manifests; and by whom, for people."""

    keys: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    by: dict[str, list[str]] = field(default_factory=dict)

    def add(self, who: str, *, key: str = "", digest: str = "") -> None:
        """Note that `who` uses a rootfs, a manifest, or both."""
        if key:
            self.keys.add(key)
            digest = digest or digest_of(key)
        if digest:
            self.digests.add(digest)
            self.by.setdefault(digest, []).append(who)

    def join(self, other: Uses) -> None:
        """Take what another one knows."""
        self.keys |= other.keys
        self.digests |= other.digests
        for digest, names in other.by.items():
            self.by.setdefault(digest, []).extend(names)


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed. freed_bytes: of files on the disk. busy: blobs were left for a pull."""

    rootfs: tuple[str, ...]
    blobs: tuple[str, ...]
    workplaces: tuple[str, ...]
    pins: int
    freed_bytes: int
    busy: bool


def collect(store: Store, progress: Progress, holders: Sequence[Holder] = ()) -> Collected:
    """Remove what nothing refers to.

    Raises InputError where somebody's facts cannot be read: nothing is removed then.
    """
    progress.step("looking for what nobody uses")
    swept = store.sweep()
    with store.workplace("gc") as path, _blobs(store) as free:
        with store.making("index"), store.exclusive():
            uses, void = uses_of(store, holders)
            for pin in void:
                os.unlink(store.place("pins", pin))
            unused = _unused_rootfs(store, uses)
            freed = sum(_size_of_rootfs(store, key) for key in unused)
            _remove_refs(store, unused)
            _remove_half_written(store)
            for key in unused:
                os.rename(store.place("rootfs", key), os.path.join(path, key))
            blobs = _unused_blobs(store, uses) if free else []
            for name in blobs:
                blob = store.place(layout.BLOBS, name)
                freed += os.lstat(blob).st_size
                os.rename(blob, os.path.join(path, f"blob-{name}"))
        progress.step(f"removing {len(unused)} rootfs and {len(blobs)} blobs")
    return Collected(tuple(unused), tuple(blobs), tuple(swept), len(void), freed, not free)


def uses_of(store: Store, holders: Sequence[Holder] = ()) -> tuple[Uses, list[str]]:
    """Return what is in use, and the pins whose bundle is gone. Held: `store.exclusive`."""
    uses = Uses()
    for name, image in layout.names(store).items():
        uses.add(f"name {name}", digest=image.digest)
    for name in sorted(os.listdir(store.place("containers"))):
        with contextlib.suppress(FileNotFoundError):
            _add_bundle(uses, f"container {name}", store.place("containers", name))
    void: list[str] = []
    for pin in sorted(os.listdir(store.place("pins"))):
        with open(store.place("pins", pin), encoding="utf-8", errors="surrogateescape") as file:
            bundle = file.read().rstrip("\n")
        try:
            _add_bundle(uses, f"bundle {bundle}", bundle)
        except FileNotFoundError:
            void.append(pin)
    for holder in holders:
        uses.join(holder(store))
    uses.keys |= {
        key for key in os.listdir(store.place("rootfs")) if _is_current(key, uses.digests)
    }
    return uses, void


def _add_bundle(uses: Uses, who: str, bundle: str) -> None:
    """Note what a bundle uses. Raises FileNotFoundError where it has no facts: it is gone."""
    path = os.path.join(bundle, FACTS)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    with open(fd, "rb") as file:
        facts = parsed(file.read(1 << 20), path)
    key = facts.at("rootfs").text("")
    digest = facts.at("image").at("digest").text("")
    if not key and not digest:
        raise InputError("a bundle does not say what it is made of", where=path)
    uses.add(who, key=key, digest=digest if is_digest(digest) else "")


def _is_current(key: str, digests: set[str]) -> bool:
    """Tell whether a rootfs is of a wanted manifest and made the way it is made today."""
    return digest_of(key) in digests and key.split("-")[1:2] == [f"v{VERSION}"]


def _unused_rootfs(store: Store, uses: Uses) -> list[str]:
    return [key for key in sorted(os.listdir(store.place("rootfs"))) if key not in uses.keys]


def _unused_blobs(store: Store, uses: Uses) -> list[str]:
    used: set[str] = set()
    for digest in uses.digests | {digest_of(key) for key in uses.keys}:
        used.add(digest)
        # Its image was never here (a rootfs made of a directory), or is gone.
        with contextlib.suppress(NotFoundError):
            of = layout.manifest(store, digest)
            used |= {of.config.digest, *(layer.digest for layer in of.layers)}
    return [
        name
        for name in sorted(os.listdir(store.place(layout.BLOBS)))
        if f"sha256:{name}" not in used
    ]


def _remove_refs(store: Store, unused: Sequence[str]) -> None:
    """Remove the short ways to what goes, and those that a removed name has left."""
    known = {file_name(name) for name in layout.names(store)}
    for name in os.listdir(store.place("refs")):
        path = store.place("refs", name)
        dangling = not os.path.exists(path)
        if dangling or name not in known or os.path.basename(os.readlink(path)) in unused:
            os.unlink(path)


def _remove_half_written(store: Store) -> None:
    """Remove what `write_whole` of a killed command has left in the layout."""
    for name in os.listdir(store.place("layout")):
        if ".new-" in name:
            os.unlink(store.place("layout", name))


def _size_of_rootfs(store: Store, key: str) -> int:
    try:
        return rootfs(store, key).size_bytes
    except (InputError, NotFoundError):
        # Somebody has spoilt it; it goes all the same.
        return 0


@contextlib.contextmanager
def _blobs(store: Store) -> Generator[bool]:
    """Be alone with the blobs, if nobody is making an image of some; yield whether that is so."""
    fd = os.open(store.place("locks/blobs"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
