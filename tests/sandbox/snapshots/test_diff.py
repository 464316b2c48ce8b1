"""What differs, as a container sees it."""

from __future__ import annotations

import os
import stat

import pytest

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.snapshots.diff import diff
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.snapshots.tree_file import Base, Tree
from aisbx_runtime.sandbox.tree import Entry

MARK = "trusted.overlay.opaque" if os.geteuid() == 0 else "user.overlay.opaque"


@pytest.fixture
def image(rootfs):
    """Fill the rootfs: etc/{a,b}, etc/deep/c, link."""
    os.makedirs(f"{rootfs}/etc/deep")
    for name in "etc/a", "etc/b", "etc/deep/c":
        with open(f"{rootfs}/{name}", "w") as file:
            file.write(name)
        os.utime(f"{rootfs}/{name}", ns=(10**18, 10**18))
    os.symlink("etc/a", f"{rootfs}/link")
    return rootfs


def told(store, before, after):
    shelf = Shelf(store)
    found = diff(store, shelf.tree(before.id) if before else None, shelf.tree(after.id))
    return [(each.change, each.path, *each.what) for each in found]


def whiteout(box, path):
    os.makedirs(os.path.dirname(f"{box.upper}/{path}"), exist_ok=True)
    os.mknod(f"{box.upper}/{path}", stat.S_IFCHR, 0)


def test_a_new_file_is_added_and_its_directory_is_not_a_change(store, box, image):
    box.write("etc/new", "x")

    assert [("added", "etc/new")] == told(store, None, box.snapshot())


def test_a_copied_up_file_that_is_the_same_is_no_change(store, box, image):
    box.write("etc/a", "etc/a")

    assert [] == told(store, None, box.snapshot())


def test_the_fields_that_differ_are_told(store, box, image):
    box.write("etc/a", "ETC/A")
    box.write("etc/b", "etc/b", mtime_ns=5)
    os.chmod(f"{box.upper}/etc/b", 0o600)
    box.write("etc/deep", "a file now")
    box.write("link", "no link")

    assert [
        ("changed", "etc/a", "content"),
        ("changed", "etc/b", "mode", "time"),
        ("changed", "etc/deep", "kind"),
        ("changed", "link", "kind"),
    ] == told(store, None, box.snapshot())


def test_a_whiteout_is_a_deletion_and_what_lay_below_is_not_listed(store, box, image):
    whiteout(box, "etc/deep")
    whiteout(box, "etc/b")

    assert [("deleted", "etc/b"), ("deleted", "etc/deep")] == told(store, None, box.snapshot())


def test_a_whiteout_of_nothing_is_no_change(store, box, image):
    whiteout(box, "etc/never")

    assert [] == told(store, None, box.snapshot())


def test_what_an_opaque_directory_hides_is_deleted(store, box, image):
    box.write("etc/a", "etc/a")
    os.setxattr(f"{box.upper}/etc", MARK, b"y")

    assert [("deleted", "etc/b"), ("deleted", "etc/deep")] == told(store, None, box.snapshot())


def test_two_snapshots_are_compared_with_the_image_below_both(store, box, image):
    box.write("etc/new", "x")
    whiteout(box, "etc/b")
    first = box.snapshot()
    os.unlink(f"{box.upper}/etc/b")
    os.unlink(f"{box.upper}/etc/new")
    whiteout(box, "etc/deep")
    second = box.snapshot()

    forth = [("added", "etc/b"), ("deleted", "etc/deep"), ("deleted", "etc/new")]
    back = [("deleted", "etc/b"), ("added", "etc/deep"), ("added", "etc/new")]
    assert forth == told(store, first, second)
    assert back == told(store, second, first)
    assert [] == told(store, first, first)


def test_a_further_name_is_compared_by_its_content(store, box, image):
    box.write("etc/a", "etc/b")
    os.link(f"{box.upper}/etc/a", f"{box.upper}/etc/b")

    assert [("changed", "etc/a", "content")] == told(store, None, box.snapshot())


def test_a_link_in_the_image_is_not_followed(store, box, image):
    """`link` leads to a file; what is below it in the snapshot is new, whatever it leads to."""
    os.unlink(f"{image}/link")
    os.symlink("/etc", f"{image}/link")
    box.write("link/passwd", "x")

    found = told(store, None, box.snapshot())

    assert [("changed", "link", "kind"), ("added", "link/passwd")] == found


def test_snapshots_of_different_images_are_not_compared(store, box, image):
    other = Tree(Base("x", f"sha256:{'2' * 64}", "other"), (Entry(".", "directory"),))

    with pytest.raises(InputError, match="different images"):
        diff(store, other, Shelf(store).tree(box.snapshot().id))
    with pytest.raises(NotFoundError):
        diff(store, None, other)
