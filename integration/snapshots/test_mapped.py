"""A program that writes through a mapping changes a file, and the file's times do not say so."""

from __future__ import annotations

import mmap
import os
import shutil

import pytest

from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.snapshots import known
from aisbx_runtime.sandbox.snapshots.create import create
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.store import Store
from integration.snapshots.merged import mounted
from tests.sandbox.snapshots.box import KEY, Box, Stopped


class Standing(Stopped):
    """A container of this process, which somebody else has paused."""

    def status(self):
        return "paused"

    def processes(self):
        return [os.getpid()]


@pytest.fixture
def box(scratch):
    path = f"{scratch}/mapped"
    store = Store.open(path)
    os.makedirs(store.place("rootfs", KEY, "rootfs"))
    yield Box(store, "box")
    shutil.rmtree(path)


def taken(box):
    made = create(box.store, box.container, Standing(), name="", progress=Silence())
    (entry,) = [each for each in Shelf(box.store).tree(made.id).entries if each.path == "file"]
    with Shelf(box.store).open_file(entry.digest) as file:
        return file.read(1), made.read_bytes


def mapping_of(path, how):
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 4096, flags=how)


def test_what_is_written_through_a_mapping_is_seen(box):
    lower = box.store.place("rootfs", KEY, "rootfs")
    with mounted(lower, box.upper) as merged:
        with open(f"{merged}/file", "wb") as file:
            file.truncate(4096)
        mapped = mapping_of(f"{merged}/file", mmap.MAP_SHARED)
        mapped[0] = ord("a")
        known.wait_for_next_tick()
        first = taken(box)
        before = os.stat(f"{box.upper}/file")
        mapped[0] = ord("b")
        after = os.stat(f"{box.upper}/file")
        second = taken(box)
        mapped.close()

    # That is why: nothing tells of the second write.
    assert known.identity_of(before) == known.identity_of(after)
    assert (b"a", b"b") == (first[0], second[0])


def test_a_mapping_that_writes_to_no_file_costs_nothing(box):
    lower = box.store.place("rootfs", KEY, "rootfs")
    with mounted(lower, box.upper) as merged:
        with open(f"{merged}/file", "wb") as file:
            file.truncate(4096)
        private = mapping_of(f"{merged}/file", mmap.MAP_PRIVATE)
        private[0] = ord("a")
        known.wait_for_next_tick()

        assert ((b"\0", 4096), (b"\0", 0)) == (taken(box), taken(box))
        private.close()
