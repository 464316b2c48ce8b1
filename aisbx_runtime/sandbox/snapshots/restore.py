"""Bring a snapshot back: its files in a new bundle. All else is what new sandboxes get today."""

from __future__ import annotations

import os

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.errors import HostError, InputError, NotFoundError
from aisbx_runtime.sandbox.snapshots import known
from aisbx_runtime.sandbox.snapshots.container import container_of, turn_of
from aisbx_runtime.sandbox.snapshots.frozen import turn
from aisbx_runtime.sandbox.store import put_in_place, write_whole
from aisbx_runtime.sandbox.tree import make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.snapshots.known import Identity
    from aisbx_runtime.sandbox.snapshots.shelf import Shelf
    from aisbx_runtime.sandbox.snapshots.tree_file import Tree
    from aisbx_runtime.sandbox.store import Store
    from aisbx_runtime.sandbox.tree import Entry, Mapping, Overlay


def fill_upper(
    shelf: Shelf, tree: Tree, directory: str, mapping: Mapping | None, overlay: Overlay
) -> dict[Identity, str]:
    """Fill an empty directory of a workplace; return what its first snapshot need not read.

    The caller holds `store.shared()`, and no container runs in it yet. Nothing is flushed.
    """
    found: list[tuple[os.stat_result, str]] = []

    def made(entry: Entry, stat: os.stat_result) -> None:
        found.append((stat, entry.digest))

    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        make(
            fd,
            tree.entries,
            lambda entry: shelf.open_file(entry.digest),
            mapping,
            overlay=overlay,
            made=made,
        )
    finally:
        os.close(fd)
    known.wait_for_next_tick()
    return {known.identity_of(stat): digest for stat, digest in found}


class Restoration:
    """A snapshot on its way into a bundle. replaced: the sandbox that it takes the place of."""

    def __init__(self, shelf: Shelf, runtime: Runtime, tree: Tree, replaced: str = "") -> None:
        self._shelf = shelf
        self._runtime = runtime
        self._tree = tree
        self._replaced = replaced

    def refill(self, bundle: str) -> None:
        """Fill a new bundle that has an empty upper directory; held: `store.shared`.

        The sandbox that is replaced ends here, when all is ready that will be in its place.
        """
        sandbox = containers.read(bundle)
        if sandbox is None:
            raise HostError("a new bundle has lost its facts", where=bundle)
        container = container_of(sandbox)
        digests = fill_upper(
            self._shelf, self._tree, f"{bundle}/upper", container.mapping, container.overlay
        )
        known.save(f"{bundle}/{known.FILE}", digests)
        if self._replaced:
            make_way(self._shelf.store, self._runtime, self._replaced)


def replaceable(store: Store, runtime: Runtime, name: str, *, force: bool) -> None:
    """Look whether a sandbox can be replaced.

    Raises NotFoundError where there is none, InputError where it runs and is not to be ended.
    """
    try:
        sandbox = containers.named(store, name)
    except NotFoundError:
        if os.path.exists(_note(store, name)):
            # Somebody was killed between the two renames: this call goes on.
            return
        raise
    if "/" in name:
        raise InputError(
            "only a sandbox of the store can be replaced", where=name, hint="see `aisbx ls`"
        )
    status = containers.status_of(runtime, sandbox).status
    if status != containers.STOPPED and not force:
        raise InputError(f"the sandbox {name} is {status}", hint="--force ends it")


def make_way(store: Store, runtime: Runtime, name: str) -> None:
    """End a sandbox, and take its bundle out of its place."""
    path = store.place("containers", name)
    os.makedirs(os.path.dirname(_note(store, name)), mode=0o700, exist_ok=True)
    write_whole(_note(store, name), b"")
    with turn(turn_of(store, path)):
        runtime.delete(name, path)
        with store.workplace("replaced") as place:
            try:
                put_in_place(path, f"{place}/bundle")
            except FileNotFoundError:
                # It was out of its place already.
                return


def replaced(store: Store, name: str) -> None:
    """Note that a sandbox has been replaced. See `replaceable`."""
    try:
        os.unlink(_note(store, name))
    except FileNotFoundError:
        return


def _note(store: Store, name: str) -> str:
    return store.place("snapshots/replacing", name)
