"""Masked and read-only paths."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.plan import paths
from aisbx_runtime.oci.plan.paths import MakePathReadOnly, MaskPath, PrepareMasks
from aisbx_runtime.oci.spec.model import Linux, Root, Spec
from tests.oci.forked import forked, mount_tmpfs
from tests.oci.world import apply, open_fds, world

root = pytest.mark.root


def spec(masked=(), read_only=()) -> Spec:
    return Spec("1.2.1", Root("r"), linux=Linux(masked_paths=masked, readonly_paths=read_only))


def test_masks_come_after_read_only_paths_each_with_its_place():
    asked = spec(("/m", "/n"), ("/r",))
    expected = [
        MakePathReadOnly("/r", "linux.readonlyPaths[0]"),
        MaskPath("/m", "linux.maskedPaths[0]"),
        MaskPath("/n", "linux.maskedPaths[1]"),
    ]

    assert expected == paths.confine_steps(asked)
    assert ["make /r read-only", "mask /m", "mask /n"] == [one.describe() for one in expected]


def test_what_masks_need_is_taken_only_when_there_are_masks():
    assert [PrepareMasks("linux.maskedPaths")] == paths.prepare_steps(spec(("/m",)))
    assert [] == paths.prepare_steps(spec((), ("/r",)))
    assert "/dev/null" in PrepareMasks("").describe()


@pytest.fixture
def rootfs(tmp_path):
    place = tmp_path / "rootfs"
    (place / "dir/inner").mkdir(parents=True)
    (place / "dir/file").write_text("secret")
    (place / "file").write_text("secret")
    return place


def confine(rootfs, masked=(), read_only=()) -> None:
    at = world(rootfs)
    asked = spec(masked, read_only)
    apply(paths.prepare_steps(asked), at)
    # By number: a mask is somewhere once it is in use, and the fd says where.
    before = {one.split()[0] for one in open_fds()}
    apply(paths.confine_steps(asked), at)

    assert before == {one.split()[0] for one in open_fds()}


@root
@forked
def test_a_masked_file_reads_as_empty_and_takes_writes(rootfs):
    confine(rootfs, ("/file",))

    assert "" == (rootfs / "file").read_text()
    (rootfs / "file").write_text("gone")

    assert "" == (rootfs / "file").read_text()


@root
@forked
def test_a_masked_directory_is_empty_and_read_only(rootfs):
    confine(rootfs, ("/dir",))

    assert [] == os.listdir(rootfs / "dir")
    with pytest.raises(OSError, match="Read-only"):
        (rootfs / "dir/new").touch()


@root
@forked
def test_what_is_mounted_below_a_masked_directory_is_hidden_too(rootfs):
    mount_tmpfs(f"{rootfs}/dir/inner")
    (rootfs / "dir/inner/secret").touch()
    confine(rootfs, ("/dir",))

    assert not (rootfs / "dir/inner").exists()


@root
@pytest.mark.parametrize("path", ["/none", "/file/below", "/none/below"])
@forked
def test_what_is_not_there_needs_neither(rootfs, path):
    confine(rootfs, (path,), (path,))


@root
@forked
def test_a_read_only_path_is_read_only_with_all_below(rootfs):
    mount_tmpfs(f"{rootfs}/dir/inner")
    confine(rootfs, (), ("/dir",))

    for name in ("dir/new", "dir/inner/new"):
        with pytest.raises(OSError, match="Read-only"):
            (rootfs / name).touch()

    assert "secret" == (rootfs / "dir/file").read_text()


@root
@forked
def test_a_mask_inside_a_read_only_path_stays(rootfs):
    confine(rootfs, ("/dir/file",), ("/dir",))

    assert "" == (rootfs / "dir/file").read_text()


@root
@forked
def test_a_link_does_not_lead_out(rootfs, tmp_path):
    (tmp_path / "outside").write_text("seen")
    (rootfs / "link").symlink_to(f"{tmp_path}/outside")
    confine(rootfs, ("/link",), ("/link",))

    assert "seen" == (tmp_path / "outside").read_text()


@root
@forked
def test_a_false_null_of_the_host_is_not_taken(rootfs, tmp_path):
    (tmp_path / "false").touch()
    tree_fd = mount.open_tree(mount.AT_FDCWD, f"{tmp_path}/false", mount.OPEN_TREE_CLONE)
    mount.move_mount_to_path(tree_fd, "/dev/null")
    with pytest.raises(Failure, match="not the null device"):
        PrepareMasks("").apply(world(rootfs))
