"""What a person names to be packed or exported: a sandbox, a snapshot, or an image.

A sandbox that runs stands still for a moment while a snapshot of it is taken: that is packed.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.images import contents
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.merged import merged
from aisbx_runtime.sandbox.images.unpack import unpack
from aisbx_runtime.sandbox.snapshots import create
from aisbx_runtime.sandbox.snapshots.container import container_of
from aisbx_runtime.sandbox.snapshots.control import Control
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.tree import Mapping, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import BinaryIO

    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.snapshots.container import Container
    from aisbx_runtime.sandbox.store import Store
    from aisbx_runtime.sandbox.tree import Entry

    Open = Callable[[Entry], BinaryIO]

# Where umoci says whose a file would be that a plain user cannot give away: rootlesscontaine.rs.
ROOTLESS = "user.rootlesscontainers"
_NOBODY_SAID = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Changes:
    """What a sandbox changed above its image, and how the contents are opened.

    reference, digest: of the image. snapshot: id of the tree.
    """

    reference: str
    digest: str
    snapshot: str
    entries: list[Entry]
    open_content: Open


@contextlib.contextmanager
def changes(
    store: Store, runtime: Runtime, argument: str, progress: Progress
) -> Generator[Changes]:
    """Yield what a sandbox or a snapshot has changed. Raises NotFoundError, InputError."""
    container = _container(store, argument)
    snapshot = _snapshot(store, argument)
    if container and snapshot:
        raise InputError(
            f"{argument!r} is a sandbox and a snapshot",
            hint=f"write {snapshot} for the snapshot, {container.path} for the sandbox",
        )
    if container:
        with _taken(store, runtime, container, progress) as snapshot_id:
            yield _changes_of(store, snapshot_id)
    elif snapshot:
        yield _changes_of(store, snapshot)
    else:
        raise NotFoundError(
            f"there is neither a sandbox nor a snapshot {argument!r}",
            where=store.path,
            hint="see `aisbx ls` and `aisbx snapshot ls`",
        )


@contextlib.contextmanager
def tree(
    store: Store, runtime: Runtime, argument: str, progress: Progress
) -> Generator[tuple[list[Entry], Open]]:
    """Yield all that a sandbox, a snapshot or an image sees as its files, and how they are opened.

    An image is pulled where it is not here.
    """
    if not (_container(store, argument) or _snapshot(store, argument)):
        rootfs = rootfs_of(store, argument, progress)
        with _rootfs(rootfs.path, progress) as (lower, open_lower):
            yield lower, open_lower
        return
    with changes(store, runtime, argument, progress) as found:
        rootfs = unpack(store, found.digest, progress)
        with _rootfs(rootfs.path, progress) as (lower, open_lower):
            above = {entry.path for entry in found.entries}

            def open_either(entry: Entry) -> BinaryIO:
                return (found.open_content if entry.path in above else open_lower)(entry)

            yield merged(lower, found.entries), open_either


def _container(store: Store, argument: str) -> Container | None:
    try:
        return container_of(containers.named(store, argument))
    except NotFoundError:
        return None


def _snapshot(store: Store, argument: str) -> str:
    if "/" in argument or (":" in argument and not argument.startswith("sha256:")):
        # A path, or the name of an image.
        return ""
    try:
        return Shelf(store).id_of(argument)
    except NotFoundError:
        return ""


@contextlib.contextmanager
def _taken(
    store: Store, runtime: Runtime, container: Container, progress: Progress
) -> Generator[str]:
    """Yield the id of a snapshot that is taken now; it goes where it was not there before."""
    shelf = Shelf(store)
    before = set(shelf.ids())
    control = Control(runtime, container)
    made = create.create(store, container, control, name="", progress=progress)
    path = shelf.tree_path(made.id)
    changed_ns = os.stat(path).st_ctime_ns
    try:
        yield made.id
    finally:
        with store.exclusive(), contextlib.suppress(FileNotFoundError):
            # Where somebody took the same snapshot meanwhile, or named this one, it is theirs.
            ours = made.id not in before and os.stat(path).st_ctime_ns == changed_ns
            if ours and made.id not in shelf.names().values():
                os.unlink(path)


def _changes_of(store: Store, snapshot_id: str) -> Changes:
    shelf = Shelf(store)
    found = shelf.tree(snapshot_id)
    entries = list(found.entries)
    if found.base.rootfs.endswith("-rootless"):
        entries = [owned(entry) for entry in entries]
    return Changes(
        found.base.reference,
        found.base.digest,
        snapshot_id,
        entries,
        lambda entry: shelf.open_file(entry.digest),
    )


@contextlib.contextmanager
def _rootfs(path: str, progress: Progress) -> Generator[tuple[list[Entry], Open]]:
    """Yield the files of a cached rootfs; those of a plain user's belong to whom umoci noted."""
    progress.step("reading the image")
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        user, group = os.geteuid(), os.getegid()
        mapping = Mapping.of([[0, user, 1]], [[0, group, 1]]) if user else None
        entries = walk(fd, mapping)
        if user:
            entries = [owned(entry) for entry in entries]
        yield entries, lambda entry: contents.opened(fd, entry)
    finally:
        os.close(fd)


def owned(entry: Entry) -> Entry:
    """Return an entry with the owner that umoci noted in an extended attribute.

    The value is a message of protobuf with two numbers: 1 the user, 2 the group.
    """
    noted = dict(entry.xattrs).get(ROOTLESS)
    if noted is None:
        return entry
    numbers = _numbers(noted)
    ids = [numbers.get(field, 0) for field in (1, 2)]
    uid, gid = (
        given if number == _NOBODY_SAID else number
        for number, given in zip(ids, (entry.uid, entry.gid), strict=True)
    )
    rest = tuple(pair for pair in entry.xattrs if pair[0] != ROOTLESS)
    return replace(entry, uid=uid, gid=gid, xattrs=rest)


def _numbers(message: bytes) -> dict[int, int]:
    """Read a message whose fields are all numbers: protobuf.dev, "Encoding", varints."""
    values: list[int] = []
    value = shift = 0
    for byte in message:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            values.append(value)
            value = shift = 0
    tags, numbers = values[::2], values[1::2]
    if shift or len(tags) != len(numbers) or any(tag & 7 for tag in tags):
        raise InputError(f"the owner of a file is noted in a way that umoci does not: {message!r}")
    return {tag >> 3: number for tag, number in zip(tags, numbers, strict=True)}
