"""Paths inside a root: symlinks of the image must not lead out of it."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import path
from tests.oci.forked import forked


@pytest.fixture
def root(tmp_path):
    """A root with traps, beside a directory that must never be touched."""
    (tmp_path / "outside").mkdir()
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc/file").write_text("inside")
    (inside / "absolute").symlink_to("/etc")
    (inside / "climbing").symlink_to("../../../../../etc")
    (inside / "dangling").symlink_to("/made/by/nobody")
    (inside / "loop").symlink_to("loop")
    return inside


@pytest.fixture
def root_fd(root):
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def where(fd: int, root) -> str:
    """Return the path of an fd below the root, and close it."""
    found = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return os.path.relpath(found, root)


@pytest.mark.parametrize("name", ["etc", "/etc", "absolute", "climbing", "../../etc", "/etc/."])
def test_every_way_ends_inside(name, root, root_fd):
    assert "etc" == where(path.open_in_root(root_fd, name), root)


def test_fds_are_close_on_exec(root_fd):
    fd = path.open_in_root(root_fd, "etc")

    assert os.get_inheritable(fd) is False
    os.close(fd)


def test_a_magic_link_is_refused(root_fd):
    proc_fd = os.open("/proc/self", os.O_PATH)
    with pytest.raises(KernelError) as caught:
        path.open_in_root(proc_fd, "exe")
    os.close(proc_fd)

    assert ("openat2", errno.ELOOP, "exe") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


def test_a_loop_of_links_is_refused(root_fd):
    with pytest.raises(KernelError) as caught:
        path.open_in_root(root_fd, "loop")

    assert errno.ELOOP == caught.value.errno


def test_beneath_refuses_to_leave(root_fd):
    with pytest.raises(KernelError) as caught:
        path.openat2(root_fd, "absolute", os.O_PATH, resolve=path.RESOLVE_BENEATH)

    assert errno.EXDEV == caught.value.errno


@pytest.mark.parametrize("name", ["/a/b/c", "a//b/./c/", "absolute/b/c", "climbing/b/c"])
def test_missing_directories_are_made_inside(name, root, root_fd):
    made = where(path.make_dirs_in_root(root_fd, name), root)

    assert made == ("a/b/c" if "a" in name.split("/") else "etc/b/c")
    assert (root / made).is_dir()


def test_making_directories_again_makes_nothing(root, root_fd):
    first = where(path.make_dirs_in_root(root_fd, "a/b"), root)

    assert first == where(path.make_dirs_in_root(root_fd, "a/b"), root)


def test_the_root_itself_is_there(root, root_fd):
    assert "." == where(path.make_dirs_in_root(root_fd, "/"), root)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dangling", "made/by/nobody"),
        ("dangling/below", "made/by/nobody/below"),
        ("run/lock", "etc/gone/lock"),
    ],
)
def test_the_target_of_a_link_to_nothing_is_made_inside(name, expected, root, root_fd):
    (root / "run").symlink_to("etc/../etc/gone")

    assert expected == where(path.make_dirs_in_root(root_fd, name), root)
    assert [] == os.listdir(root.parent / "outside")


def test_links_to_nothing_are_followed_a_bounded_number_of_times(root, root_fd):
    for number in range(60):
        (root / f"l{number}").symlink_to(f"l{number + 1}")
    with pytest.raises(KernelError) as caught:
        path.make_dirs_in_root(root_fd, "l0")

    assert errno.ELOOP == caught.value.errno


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("etc/file/below", errno.ENOTDIR),
        ("missing/../etc/new", errno.ENOENT),
    ],
)
def test_what_cannot_be_a_directory_is_refused_and_nothing_made_outside(
    name, number, root, root_fd
):
    open_before = sorted(os.listdir("/proc/self/fd"))
    try:
        fd = path.make_dirs_in_root(root_fd, name)
    except KernelError as error:
        assert number == error.errno  # noqa: PT017
    else:
        assert not where(fd, root).startswith("..")

    assert open_before == sorted(os.listdir("/proc/self/fd"))
    assert [] == os.listdir(root.parent / "outside")


def test_a_directory_that_may_not_be_made_is_named(tmp_path):
    proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(KernelError) as caught:
        path.make_dirs_in_root(proc_fd, "nosuch/below")
    os.close(proc_fd)

    assert ("mkdirat", "/nosuch") == (caught.value.syscall, caught.value.filename)


@pytest.mark.parametrize(
    ("container_path", "parts"),
    [
        ("/a/b", ("/a", "b")), ("/b", ("/", "b")), ("b", ("/", "b")), ("/a/b//", ("/a", "b")),
        ("/", ("/", "")),
    ],
)  # fmt: skip
def test_a_path_is_split_at_its_last_name(container_path, parts):
    assert parts == path.split(container_path)


def test_a_missing_file_is_made_with_its_parents(root, root_fd):
    assert "new/file" == where(path.make_file_in_root(root_fd, "/new/file"), root)
    assert b"" == (root / "new/file").read_bytes()


def test_a_file_that_is_there_stays_as_it_is(root, root_fd):
    assert "etc/file" == where(path.make_file_in_root(root_fd, "/absolute/file"), root)
    assert "inside" == (root / "etc/file").read_text()


def test_a_file_behind_a_dangling_link_is_not_made_elsewhere(root, root_fd):
    # The link itself is opened (O_NOFOLLOW): mounting on it fails, and nothing has been created.
    fd = path.make_file_in_root(root_fd, "/dangling")

    assert "dangling" == where(fd, root)
    assert (root / "made").exists() is False


@pytest.mark.parametrize("name", ["absolute", "dangling", "loop"])
def test_the_last_name_is_not_followed(root_fd, root, name):
    fd = path.make_last_in_root(root_fd, f"/climbing/../{name}")

    assert name == where(fd, root)
    assert (root / name).is_symlink()


def test_a_last_name_that_is_missing_gets_a_file(root_fd, root):
    os.close(path.make_last_in_root(root_fd, "/absolute/new/name"))

    assert (root / "etc/new/name").is_file()


def test_a_file_cannot_be_made_below_a_file(root_fd):
    with pytest.raises(KernelError) as caught:
        path.make_file_in_root(root_fd, "/etc/file/below")

    assert errno.ENOTDIR == caught.value.errno


def test_a_file_system_is_known_by_its_number():
    fd = os.open("/proc", os.O_PATH)

    assert path.PROC_SUPER_MAGIC == path.fs_type_of(fd)
    os.close(fd)


def test_the_working_directory_is_reachable(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert path.current_directory_is_reachable()


@pytest.mark.root
@forked
def test_a_working_directory_outside_the_root_is_not(tmp_path):
    # CVE-2024-21626: a leaked fd as cwd, then a new root.
    os.chdir("/")
    fd = os.open(tmp_path, os.O_PATH)
    os.fchdir(fd)
    os.chroot("/usr")

    assert path.current_directory_is_reachable() is False
