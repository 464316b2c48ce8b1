"""rm and gc take what nobody needs, and nothing else."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.snapshots.remove import bases, gc, remove
from aisbx_runtime.sandbox.snapshots.shelf import Shelf


def contents(store):
    shelf = Shelf(store)
    needed = {e.digest for each in shelf.ids() for e in shelf.tree(each).entries if e.digest}
    found = {
        f"sha256:{name}"
        for _, _, names in os.walk(store.place("snapshots/files"))
        for name in names
    }
    return needed, found


def test_gc_removes_what_no_snapshot_has(store, box):
    box.write("a", "one")
    first = box.snapshot("first")
    box.write("a", "two")
    box.write("b", "both")
    box.snapshot()
    remove(store, first.id)

    freed = gc(store)

    needed, found = contents(store)
    assert needed == found
    assert 1 == freed.files
    assert 2 == len(found)
    assert 0 == gc(store).files


def test_gc_keeps_snapshots_without_a_name(store, box):
    taken = box.snapshot()

    gc(store)

    assert [taken.id] == Shelf(store).ids()


def test_gc_removes_what_a_kill_left(store, box):
    taken = box.snapshot("a")
    for path in (
        "trees/" + "0" * 64 + ".json.new-1",
        "names/b.new-1",
    ):
        with open(store.place("snapshots", path), "w") as file:
            file.write("half")
    with open(store.place("snapshots/names/gone"), "w") as file:
        file.write(f"sha256:{'1' * 64}\n")

    assert [taken.id] == [each.id for each in Shelf(store).snapshots()]
    gc(store)

    assert [f"{taken.id[7:]}.json"] == os.listdir(store.place("snapshots/trees"))
    assert ["a"] == os.listdir(store.place("snapshots/names"))


def test_gc_removes_nothing_when_a_tree_cannot_be_read(store, box):
    box.write("a", "x")
    taken = box.snapshot()
    with open(Shelf(store).tree_path(taken.id), "a") as file:
        file.write(" ")

    with pytest.raises(InputError):
        gc(store)

    assert 1 == len(contents_on_disk(store))


def contents_on_disk(store):
    return [name for _, _, names in os.walk(store.place("snapshots/files")) for name in names]


def test_a_snapshot_goes_with_its_last_name(store, box):
    taken = box.snapshot("one")
    box.snapshot("two")

    assert (taken.id, False) == remove(store, "one")
    assert [taken.id] == Shelf(store).ids()
    assert (taken.id, True) == remove(store, "two")
    assert [] == Shelf(store).ids()


def test_a_snapshot_goes_by_its_id_with_all_its_names(store, box):
    taken = box.snapshot("one")
    box.snapshot("two")

    assert (taken.id, True) == remove(store, taken.id[7:15])
    assert ([], {}) == (Shelf(store).ids(), Shelf(store).names())


def test_what_is_not_there_cannot_be_removed(store):
    for text in "name", "0" * 64:
        with pytest.raises(NotFoundError):
            remove(store, text)


def test_the_images_that_snapshots_lie_on_are_told(store, box):
    assert {} == bases(store)

    taken = box.snapshot()

    assert {taken.id: box.container.base} == bases(store)
