"""Taking snapshots of what does not run: content by digest, names, and what is not read again."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.snapshots import known
from aisbx_runtime.sandbox.snapshots.container import container_of
from aisbx_runtime.sandbox.snapshots.remove import gc
from aisbx_runtime.sandbox.snapshots.shelf import Shelf


def files(store):
    return [name for _, _, names in os.walk(store.place("snapshots/files")) for name in names]


def test_equal_contents_are_kept_once(store, box):
    box.write("a", "same")
    box.write("d/b", "same")
    box.write("c", "other")

    box.snapshot()

    assert 2 == len(files(store))


def test_the_same_tree_is_the_same_snapshot(store, box):
    box.write("a", "x")
    first = box.snapshot()

    assert first.id == box.snapshot().id
    assert [first.id] == Shelf(store).ids()


def test_a_tree_says_what_was_there(store, box):
    box.write("d/a", "text")

    tree = Shelf(store).tree(box.snapshot().id)

    assert [".", "d", "d/a"] == [entry.path for entry in tree.entries]
    with Shelf(store).open_file(tree.entries[2].digest) as file:
        assert b"text" == file.read()
    assert box.container.base == tree.base


def test_a_snapshot_leaves_no_workplace(store, box):
    box.snapshot()

    assert [] == os.listdir(store.place("work"))


def test_what_has_not_changed_is_not_read_again(store, box):
    box.write("a", "long")
    known.wait_for_next_tick()
    first = box.snapshot()
    known.wait_for_next_tick()
    box.write("b", "new")

    assert (4, 3) == (first.read_bytes, box.snapshot().read_bytes)


def test_what_changed_in_the_tick_of_the_snapshot_is_read_again(store, box, monkeypatch):
    """Its times could stay the same when it is changed once more."""
    box.write("a", "long")
    inode = os.stat(f"{box.upper}/a")
    monkeypatch.setattr(known, "now_ns", lambda: inode.st_ctime_ns)
    box.snapshot()

    assert 4 == box.snapshot().read_bytes


def test_a_change_that_keeps_size_and_time_is_seen(store, box):
    box.write("a", "long")
    known.wait_for_next_tick()
    first = box.snapshot()
    known.wait_for_next_tick()
    box.write("a", "gone")

    second = box.snapshot()

    assert os.stat(f"{box.upper}/a").st_mtime_ns == 10**18
    assert 4 == second.read_bytes
    assert first.id != second.id


def test_a_known_file_that_gc_removed_is_read_again(store, box):
    box.write("a", "long")
    known.wait_for_next_tick()
    first = box.snapshot()
    os.unlink(Shelf(store).tree_path(first.id))
    gc(store)

    assert (first.id, 4) == (box.snapshot().id, box.snapshot().read_bytes + 4)
    assert 1 == len(files(store))


def test_spoilt_digests_are_not_believed(store, box):
    box.write("a", "long")
    known.wait_for_next_tick()
    box.snapshot()
    for text in "", "[]", '{"version": 1, "files": [[1, 2, 3, 4, 5, "sha256:x"], 7]}':
        with open(box.container.known, "w") as file:
            file.write(text)

        assert 4 == box.snapshot().read_bytes


def test_a_name_means_its_last_snapshot(store, box):
    first = box.snapshot("good")
    box.write("a", "x")
    second = box.snapshot("good")

    assert ("", first.id) == (first.moved_from, second.moved_from)
    assert {"good": second.id} == Shelf(store).names()
    assert {first.id, second.id} == set(Shelf(store).ids())


def test_a_snapshot_is_found_by_name_and_by_the_beginning_of_its_id(store, box):
    taken = box.snapshot("good")
    shelf = Shelf(store)

    assert [taken.id] * 4 == [
        shelf.id_of(text) for text in ("good", taken.id, taken.id[7:], taken.id[7:13])
    ]
    for text in "bad", taken.id[7:12], "0" * 64:
        with pytest.raises((NotFoundError, InputError)):
            shelf.id_of(text)


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", ".new", "a b", "x" * 129, "abcdef", "é"])
def test_what_is_no_name_is_refused_before_anything_is_done(store, box, name):
    with pytest.raises(InputError):
        Shelf(store).name_path(name)


def test_a_snapshot_with_an_impossible_name_is_not_taken(store, box):
    with pytest.raises(InputError):
        box.snapshot("a/b")

    assert [] == Shelf(store).ids()


def test_a_bundle_without_our_overlay_is_refused(store, box):
    for text in (
        "",
        "[]",
        "{}",
        '{"mounts": []}',
        '{"mounts": [{"destination": "/", "type": "tmpfs"}]}',
    ):
        with open(f"{box.path}/config.json", "w") as file:
            file.write(text)
        with pytest.raises(InputError, match="no overlay"):
            container_of(containers.named(store, "box"))
