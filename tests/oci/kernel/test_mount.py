"""The mount API by fd, in mounts of its own."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import mount
from tests.oci.forked import forked, mount_tmpfs, mounts_at

pytestmark = pytest.mark.root


def directory(path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


@forked
def test_a_copy_of_a_mount_is_attached_by_fd_at_both_ends(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("here")
    (tmp_path / "target").mkdir()
    tree_fd = mount.open_tree(mount.AT_FDCWD, f"{tmp_path}/source", mount.OPEN_TREE_CLONE)

    assert os.get_inheritable(tree_fd) is False
    assert (tmp_path / "target/file").exists() is False
    mount.move_mount(tree_fd, directory(tmp_path / "target"))

    assert "here" == (tmp_path / "target/file").read_text()


@forked
def test_a_recursive_copy_has_the_mounts_below(tmp_path):
    for name in ("source", "source/inner", "plain", "deep"):
        (tmp_path / name).mkdir()
    mount_tmpfs(f"{tmp_path}/source/inner")
    (tmp_path / "source/inner/file").write_text("")
    for name, flags in (("plain", 0), ("deep", mount.AT_RECURSIVE)):
        clone = mount.OPEN_TREE_CLONE | flags
        tree_fd = mount.open_tree(mount.AT_FDCWD, f"{tmp_path}/source", clone)
        mount.move_mount(tree_fd, directory(tmp_path / name))

    assert (False, True) == (
        (tmp_path / "plain/inner/file").exists(),
        (tmp_path / "deep/inner/file").exists(),
    )


@forked
def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(KernelError) as caught:
        mount.open_tree(mount.AT_FDCWD, f"{tmp_path}/none", mount.OPEN_TREE_CLONE)

    assert ("open_tree", errno.ENOENT, f"{tmp_path}/none") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@forked
def test_a_directory_does_not_fit_on_a_file(tmp_path):
    (tmp_path / "file").touch()
    tree_fd = mount.open_tree(mount.AT_FDCWD, "/", mount.OPEN_TREE_CLONE)
    with pytest.raises(KernelError) as caught:
        mount.move_mount(tree_fd, os.open(tmp_path / "file", os.O_PATH), path="/file")

    assert ("move_mount", errno.EINVAL, "/file") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@forked
def test_a_file_system_is_made_of_its_options(tmp_path):
    context_fd = mount.fsopen("tmpfs")
    mount.fsconfig_string(context_fd, "source", "its-source")
    mount.fsconfig_string(context_fd, "mode", "710")
    mount.fsconfig_flag(context_fd, "ro")
    mount.fsconfig_create(context_fd)
    tree_fd = mount.fsmount(context_fd, mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC)
    mount.move_mount_to_path(tree_fd, f"{tmp_path}")
    (fields,) = mounts_at(tmp_path)
    after = fields[fields.index("-") + 1 :]

    assert {"nosuid", "noexec"} <= set(fields[5].split(","))
    assert ["tmpfs", "its-source"] == after[:2]
    assert {"ro", "mode=710"} <= set(after[2].split(","))


@forked
def test_an_unknown_file_system_is_named():
    with pytest.raises(KernelError) as caught:
        mount.fsopen("nosuchfs")

    assert ("fsopen", errno.ENODEV, "nosuchfs") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


def refused_option(set_option, *words) -> KernelError:
    context_fd = mount.fsopen("tmpfs")
    with pytest.raises(KernelError) as caught:
        set_option(context_fd, *words)
    os.close(context_fd)
    return caught.value


@forked
def test_an_unknown_option_comes_with_the_words_of_the_kernel():
    error = refused_option(mount.fsconfig_string, "nosuch", "value")

    assert ("fsconfig", errno.EINVAL) == (error.syscall, error.errno)
    # The kernel's own sentence, without its level letter: "tmpfs: Unknown parameter 'nosuch'".
    assert error.filename.startswith("nosuch=value [tmpfs: ")


@forked
def test_an_unknown_flag_comes_with_the_words_of_the_kernel():
    error = refused_option(mount.fsconfig_flag, "nosuch")

    assert error.filename.startswith("nosuch [tmpfs: ")


@forked
def test_a_kernel_that_says_nothing_leaves_the_option():
    # A value of more than 255 bytes is refused before the file system sees it.
    error = refused_option(mount.fsconfig_string, "size", "9" * 300)

    assert error.filename == f"size={'9' * 300}"


@forked
def test_what_cannot_be_created_is_an_error():
    context_fd = mount.fsopen("overlay")
    with pytest.raises(KernelError) as caught:
        mount.fsconfig_create(context_fd)

    assert "fsconfig" == caught.value.syscall


@forked
def test_flags_change_on_one_mount_or_on_all_below(tmp_path):
    (tmp_path / "one").mkdir()
    mount_tmpfs(f"{tmp_path}/one")
    (tmp_path / "one/two").mkdir()
    mount_tmpfs(f"{tmp_path}/one/two")

    def read_only() -> list[bool]:
        paths = (f"{tmp_path}/one", f"{tmp_path}/one/two")
        return ["ro" in mounts_at(path)[0][5].split(",") for path in paths]

    fd = directory(tmp_path / "one")
    mount.mount_setattr(fd, attr_set=mount.MOUNT_ATTR_RDONLY)

    assert [True, False] == read_only()
    mount.mount_setattr(fd, attr_set=mount.MOUNT_ATTR_RDONLY, recursive=True)

    assert [True, True] == read_only()
    mount.mount_setattr(fd, attr_clr=mount.MOUNT_ATTR_RDONLY)

    assert [False, True] == read_only()


@forked
def test_propagation_changes(tmp_path):
    mount_tmpfs(f"{tmp_path}")
    fd = directory(tmp_path)
    mount.mount_setattr(fd, propagation=mount.MS_SHARED)
    (fields,) = mounts_at(tmp_path)

    assert fields[6].startswith("shared:")


@forked
def test_what_is_no_mount_has_no_flags(tmp_path):
    with pytest.raises(KernelError) as caught:
        mount.mount_setattr(directory(tmp_path), attr_set=1, path="/here")

    assert ("mount_setattr", errno.EINVAL, "/here") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@forked
def test_pivot_stacks_the_old_root_on_the_new_one_and_lets_it_go(tmp_path):
    mount_tmpfs(f"{tmp_path}")
    (tmp_path / "only").touch()
    os.chdir(tmp_path)
    mount.pivot_root_here()
    mount.umount_detach(".")
    os.chdir("/")

    assert ["only"] == os.listdir("/")


@forked
def test_a_directory_that_is_no_mount_cannot_be_the_root(tmp_path):
    os.chdir(tmp_path)
    with pytest.raises(KernelError) as caught:
        mount.pivot_root_here()

    assert ("pivot_root", errno.EBUSY) == (caught.value.syscall, caught.value.errno)


@forked
def test_what_is_not_mounted_cannot_be_unmounted(tmp_path):
    with pytest.raises(KernelError) as caught:
        mount.umount_detach(f"{tmp_path}")

    assert ("umount2", errno.EINVAL, f"{tmp_path}") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@forked
def test_mount_by_data_takes_what_fsconfig_is_too_short_for(tmp_path):
    mount_tmpfs(f"{tmp_path}")
    layers = [tmp_path / f"{number}{'x' * 100}" for number in range(4)]
    for layer in layers:
        layer.mkdir()
        (layer / layer.name[0]).touch()
    target = tmp_path / "target"
    target.mkdir()
    data = f"lowerdir={':'.join([str(layer) for layer in layers])}"

    assert len(data) > 255
    mount.mount_at_fd("overlay", directory(target), "overlay", data)

    assert ["0", "1", "2", "3"] == sorted(os.listdir(target))


@forked
def test_a_mount_is_detached_by_fd(tmp_path):
    mount_tmpfs(f"{tmp_path}")
    proc_fd = mount.open_tree(mount.AT_FDCWD, "/proc", mount.OPEN_TREE_CLONE)
    mount.umount_fd(proc_fd, directory(tmp_path))

    assert [] == mounts_at(tmp_path)


@forked
def test_what_is_no_mount_is_not_detached(tmp_path):
    proc_fd = mount.open_tree(mount.AT_FDCWD, "/proc", mount.OPEN_TREE_CLONE)
    with pytest.raises(KernelError) as caught:
        mount.umount_fd(proc_fd, directory(tmp_path), path="/x")

    assert ("umount2", errno.EINVAL, "/x") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@forked
def test_a_file_system_is_given_other_options(tmp_path):
    mount_tmpfs(f"{tmp_path}", "size=64k")
    context_fd = mount.fspick(directory(tmp_path))
    mount.fsconfig_string(context_fd, "size", "128k")
    mount.fsconfig_reconfigure(context_fd)

    assert "size=128k" in mounts_at(tmp_path)[-1][-1]
    assert os.get_inheritable(context_fd) is False


@forked
def test_only_the_root_of_a_mount_can_be_reconfigured(tmp_path):
    (tmp_path / "below").mkdir()
    with pytest.raises(KernelError) as caught:
        mount.fspick(directory(tmp_path / "below"))

    assert ("fspick", errno.EINVAL) == (caught.value.syscall, caught.value.errno)
