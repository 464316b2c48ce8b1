"""One operation on a store, to be killed at any of its system calls: `driver STORE OPERATION`.

The store is made by `ground`: a sandbox that does not run, with a snapshot `old`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import sys

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.errors import NotFoundError
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.snapshots.container import container_of
from aisbx_runtime.sandbox.snapshots.create import create
from aisbx_runtime.sandbox.snapshots.remove import gc, remove
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.store import Store
from tests.sandbox.snapshots.box import KEY, Box, Stopped


def ground(path):
    """Make the store."""
    store = Store.open(path)
    os.makedirs(store.place("rootfs", KEY, "rootfs"))
    box = Box(store, "box")
    box.write("same", "same")
    box.write("old", "old")
    box.snapshot("old")
    os.unlink(f"{box.upper}/old")
    for name in "abc":
        box.write(f"d/{name}", name)
    return store


def sound(store):
    """Return what is in the store, having looked whether each snapshot is whole."""
    shelf = Shelf(store)
    needed = set()
    for each in shelf.ids():
        for entry in shelf.tree(each).entries:
            if entry.kind == "file":
                needed.add(entry.digest[7:])
                with shelf.open_file(entry.digest) as file:
                    assert entry.digest == f"sha256:{hashlib.sha256(file.read()).hexdigest()}"
    return {
        "trees": sorted(os.listdir(store.place("snapshots/trees"))),
        "files": sorted(
            name for _, _, names in os.walk(store.place("snapshots/files")) for name in names
        ),
        "names": sorted(os.listdir(store.place("snapshots/names"))),
        "work": os.listdir(store.place("work")),
    }


def make(store, name):
    """Take 50 snapshots of a sandbox that changes; contents come back again and again."""
    box = Box(store, name)
    for number in range(50):
        box.write("a", f"{number % 7}")
        box.write("b", f"{name}{number % 5}")
        box.write("c", f"{number}")
        taken = box.snapshot(name)
        shelf = Shelf(store)
        for entry in shelf.tree(taken.id).entries:
            if entry.kind == "file":
                shelf.open_file(entry.digest).close()


def collect(store):
    """Remove what has no name, and its files, until nobody holds our stdin."""
    while not select.select([0], [], [], 0)[0]:
        for each in Shelf(store).snapshots():
            if not each.names:
                # Its maker may be about to name it; or has named another one.
                with contextlib.suppress(NotFoundError):
                    remove_unnamed(store, each.id)
        gc(store)


def remove_unnamed(store, snapshot_id):
    shelf = Shelf(store)
    with store.exclusive():
        if snapshot_id not in shelf.names().values():
            os.unlink(shelf.tree_path(snapshot_id))


def main(path, operation):
    store = Store.open(path)
    if operation == "create":
        container = container_of(containers.named(store, "box"))
        create(store, container, Stopped(), name="new", progress=Silence())
    elif operation.startswith("make-"):
        make(store, operation)
    elif operation == "collect":
        collect(store)
    elif operation == "rm":
        remove(store, "old")
    elif operation == "gc":
        store.sweep()
        gc(store)


if __name__ == "__main__":
    main(*sys.argv[1:])
