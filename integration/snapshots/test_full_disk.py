"""A full disk is a clear error and changes nothing."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.sandbox.errors import HostError
from aisbx_runtime.sandbox.snapshots.restore import fill_upper
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.store import Store
from integration import host
from integration.snapshots.driver import sound
from tests.sandbox.snapshots.box import KEY, Box


@pytest.fixture
def box(scratch):
    """A sandbox in a store of 4 MB that has changed 1 MB and has been kept."""
    path = f"{scratch}/small"
    os.mkdir(path)
    host.mount("tmpfs", path, "tmpfs", data="size=4m,mode=0755")
    store = Store.open(f"{path}/store")
    os.makedirs(store.place("rootfs", KEY, "rootfs"))
    made = Box(store, "box")
    made.write("a", "a" * (1 << 20))
    made.snapshot("good")
    yield made
    host.umount(path)
    os.rmdir(path)


def test_a_snapshot_that_has_no_room_leaves_nothing(box):
    before = sound(box.store)
    os.rename(f"{box.upper}/a", f"{box.upper}/b")
    box.write("a", "b" * (1 << 20) + "c" * (1 << 19))

    with pytest.raises(HostError) as told:
        box.snapshot("good")

    assert "ENOSPC" in told.value.why
    assert before == sound(box.store)
    # With room it succeeds.
    os.unlink(f"{box.upper}/b")
    os.truncate(f"{box.upper}/a", 1 << 19)
    assert box.snapshot("good").moved_from


def test_a_restoring_that_has_no_room_says_so(box):
    shelf = Shelf(box.store)
    again = box.store.place("work", "again")
    os.mkdir(again)
    box.write("more", "m" * ((1 << 20) + (1 << 19)))

    with pytest.raises(HostError) as told:
        fill_upper(shelf, shelf.tree(shelf.id_of("good")), again, None, box.container.overlay)

    assert ("ENOSPC", "'a'") == (told.value.why, told.value.where)
    assert "room" in told.value.hint
