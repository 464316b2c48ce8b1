"""Take a snapshot of a container that runs or not."""

from __future__ import annotations

import contextlib
import errno
import threading
from dataclasses import dataclass

from aisbx_runtime.sandbox.containers import STOPPED
from aisbx_runtime.sandbox.errors import HostError, SandboxError
from aisbx_runtime.sandbox.snapshots import known
from aisbx_runtime.sandbox.snapshots.collect import Collection
from aisbx_runtime.sandbox.snapshots.container import turn_of
from aisbx_runtime.sandbox.snapshots.frozen import frozen, turn
from aisbx_runtime.sandbox.snapshots.shelf import Shelf, flush
from aisbx_runtime.sandbox.snapshots.tree_file import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from aisbx_runtime.sandbox.progress import Progress
    from aisbx_runtime.sandbox.snapshots.container import Container
    from aisbx_runtime.sandbox.snapshots.control import Control
    from aisbx_runtime.sandbox.store import Store

# Copied in a few milliseconds; less is not worth another look at the container.
MUCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot that was just taken.

    read_bytes: of files that the last snapshot did not know.
    moved_from: what the name meant before, where that was another one.
    """

    id: str
    entries: int
    read_bytes: int
    moved_from: str


def create(
    store: Store, container: Container, control: Control, *, name: str, progress: Progress
) -> Taken:
    """Keep what a container has changed by now; a name that is taken moves to it.

    A container that runs stands still while its new files are copied.
    Raises SandboxError; then nothing has changed, and the container is as it was.
    """
    shelf = Shelf(store)
    if name:
        shelf.name_path(name)

    def waiting() -> None:
        progress.step("waiting for another snapshot of it")

    try:
        with turn(turn_of(store, container.path), waiting) as turn_fd:
            attempt = _Attempt(shelf, container, control, turn_fd, name, progress)
            taken = attempt.take(known.load(container.known)) or attempt.take({})
    except OSError as error:
        raise HostError(
            "cannot write a snapshot to the store",
            where=error.filename or store.path,
            why=errno.errorcode.get(error.errno or 0, str(error)),
        ) from error
    if taken is None:
        raise HostError("the store has lost what was just put into it", where=store.path)
    return taken


@dataclass(frozen=True, slots=True)
class _Attempt:
    shelf: Shelf
    container: Container
    control: Control
    turn_fd: int
    name: str
    progress: Progress

    def take(self, digests: dict[known.Identity, str]) -> Taken | None:
        """Return nothing where gc has removed a file that we knew, between our look and the end."""
        container, control, shelf = self.container, self.control, self.shelf
        with shelf.store.workplace("snapshot") as workplace:
            collection = Collection(shelf, workplace, digests)
            where = (container.upper, container.mapping, container.overlay)
            status = control.status()
            if status == "running":
                self._read_ahead(collection)
            with frozen(control, status, self.turn_fd, container.marker):
                moment_ns = known.now_ns()
                with _Look(control if status != STOPPED else None) as look:
                    collection.read(*where, moment_ns)
            collection.hash(self.progress)
            files = collection.files()
            flush([path for path, _ in files])
            with shelf.store.shared():
                if not all(shelf.has_file(each) for each in _needed(collection, files)):
                    return None
                shelf.take_files(files)
                snapshot_id = shelf.put_tree(Tree(container.base, tuple(collection.entries)))
                before = shelf.put_name(self.name, snapshot_id) if self.name else ""
        known.save(container.known, {} if look.writes else collection.digests())
        return Taken(
            snapshot_id,
            len(collection.entries),
            collection.copied_bytes,
            "" if before == snapshot_id else before,
        )

    def _read_ahead(self, collection: Collection) -> None:
        """Copy most of it while the container runs: what stays as it is need not be copied again.

        Nobody relies on it, so what goes wrong here is no failure.
        """
        container = self.container
        where = (container.upper, container.mapping, container.overlay)
        with contextlib.suppress(SandboxError):
            if collection.unknown_bytes(*where) < MUCH_BYTES:
                return
            moment_ns = known.now_ns()
            if not known.writes_by_mapping(self.control.processes()):
                collection.read(*where, moment_ns)


class _Look:
    """Looks for writing mappings while the caller reads: asking the runtime takes its time."""

    def __init__(self, control: Control | None) -> None:
        self.writes = control is not None
        self._control = control
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        if self._control is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._control is not None:
            self._thread.join()

    def _look(self) -> None:
        # What cannot be asked is taken for the worse: the next snapshot reads more than it must.
        with contextlib.suppress(SandboxError):
            if self._control is not None:
                self.writes = known.writes_by_mapping(self._control.processes())


def _needed(collection: Collection, files: list[tuple[str, str]]) -> set[str]:
    """Return the digests of the files that must be here already."""
    made = {digest for _, digest in files}
    return {entry.digest for entry in collection.entries if entry.digest} - made
