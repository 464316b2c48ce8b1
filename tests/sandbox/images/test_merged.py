"""Overlay's rules on lists. Against the kernel's own overlay: integration/images."""

from __future__ import annotations

from aisbx_runtime.sandbox.images.merged import merged
from aisbx_runtime.sandbox.tree import Entry

ROOT = Entry(".", "directory")


def directory(path, **more):
    return Entry(path, "directory", **more)


def file(path, **more):
    return Entry(path, "file", **more)


def link(path, target):
    return Entry(path, "hardlink", target=target)


def paths(entries):
    return sorted(entry.path for entry in entries)


def test_what_is_above_is_seen_in_the_place_of_what_is_below():
    found = merged([ROOT, file("a", mode=1), file("b")], [ROOT, file("a", mode=2)])

    assert [2] == [entry.mode for entry in found if entry.path == "a"]
    assert paths(found) == [".", "a", "b"]


def test_a_whiteout_hides_all_that_is_below_it_and_is_not_seen():
    lower = [ROOT, directory("a"), file("a/b"), file("a-b")]

    assert paths(merged(lower, [ROOT, Entry("a", "whiteout")])) == [".", "a-b"]


def test_an_opaque_directory_hides_what_is_in_it_and_is_a_plain_one():
    lower = [ROOT, directory("a"), directory("a/b"), file("a/b/c")]
    found = merged(lower, [ROOT, directory("a", opaque=True), file("a/d")])

    assert paths(found) == [".", "a", "a/d"]
    assert not any(entry.opaque for entry in found)


def test_a_file_hides_a_directory():
    lower = [ROOT, directory("a"), file("a/b")]

    assert paths(merged(lower, [ROOT, file("a")])) == [".", "a"]


def test_a_directory_that_is_not_opaque_is_merged():
    lower = [ROOT, directory("a"), file("a/b")]

    assert paths(merged(lower, [ROOT, directory("a"), file("a/c")])) == [".", "a", "a/b", "a/c"]


def test_a_file_whose_first_name_is_hidden_keeps_the_others():
    lower = [ROOT, file("a", mode=7), link("b", "a"), link("c", "a"), file("d")]
    found = merged(lower, [ROOT, Entry("a", "whiteout")])

    assert [(entry.path, entry.kind, entry.mode, entry.target) for entry in found[:-1]] == [
        ("b", "file", 7, ""), ("c", "hardlink", 0, "b"), ("d", "file", 0, ""),
    ]  # fmt: skip


def test_a_name_of_a_file_that_was_replaced_is_a_file_of_its_own():
    lower = [ROOT, file("a", mode=7), link("b", "a")]
    found = merged(lower, [ROOT, file("a", mode=6)])

    assert {("a", "file", 6), ("b", "file", 7), (".", "directory", 0)} == {
        (entry.path, entry.kind, entry.mode) for entry in found
    }


def test_a_device_0_0_of_an_image_is_not_there():
    assert paths(merged([ROOT, Entry("a", "whiteout")], [ROOT])) == ["."]
