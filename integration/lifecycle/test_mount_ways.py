"""Ways of mounting that crun has added, and `remount` entries."""

from __future__ import annotations

import os

import pytest

from integration.differences import known_of_runc
from integration.mountinfo import last_at

READ = "cat /proc/self/mountinfo"
CRUN_ONLY = "1.1 has not the options of crun"


@pytest.fixture
def link(tmp_path):
    """A symlink of the host to a file beside it."""
    (tmp_path / "file").write_text("content\n")
    os.chmod(tmp_path, 0o755)
    os.symlink("file", tmp_path / "link")
    return str(tmp_path / "link")


def run(runtime, bundle, script):
    result = runtime.run(bundle, script)
    known_of_runc(runtime, CRUN_ONLY, seen=True)
    return result


# ---- copy-symlink --------------------------------------------------------------------------------
def test_a_symlink_is_copied_and_not_followed(runtime, bundle, link):
    bundle.mount("/mnt/new/link", "bind", link, "rbind", "copy-symlink")
    result = run(runtime, bundle, "readlink /mnt/new/link; grep -c /mnt /proc/self/mountinfo")

    assert result.lines == ["file", "0"]


def test_with_copy_symlink_a_file_is_bound(runtime, bundle, link):
    bundle.mount("/mnt/file", "bind", os.path.dirname(link) + "/file", "rbind", "copy-symlink")

    assert run(runtime, bundle, "cat /mnt/file").ok().out == "content\n"


def test_a_symlink_with_the_same_content_may_be_there(runtime, bundle, link):
    os.symlink("file", f"{bundle.rootfs}/mnt/link")
    bundle.mount("/mnt/link", "bind", link, "bind", "copy-symlink")

    assert run(runtime, bundle, "readlink /mnt/link").ok().out == "file\n"


@pytest.mark.parametrize("there", ["symlink", "file", "directory"])
def test_something_else_in_the_place_of_the_symlink_is_an_error(runtime, bundle, link, there):
    path = f"{bundle.rootfs}/mnt/link"
    if there == "symlink":
        os.symlink("/etc/passwd", path)
    elif there == "file":
        bundle.file("mnt/link", "")
    else:
        os.mkdir(path)
    bundle.mount("/mnt/link", "bind", link, "bind", "copy-symlink")
    result = run(runtime, bundle, "true")

    assert result.code != 0
    assert "cannot copy a symlink to /mnt/link" in result.message


def test_a_copied_symlink_stays_inside_the_rootfs(runtime, bundle, link, tmp_path):
    # The image leads the parent of the destination out.
    os.symlink(f"{tmp_path}", f"{bundle.rootfs}/mnt/out")
    bundle.mount("/mnt/out/made", "bind", link, "bind", "copy-symlink")
    result = run(runtime, bundle, f"readlink {tmp_path}/made")

    assert result.ok().out == "file\n"
    assert not os.path.lexists(tmp_path / "made")


# ---- src-nofollow, dest-nofollow -----------------------------------------------------------------
def test_the_symlink_itself_is_bound(runtime, bundle, link):
    bundle.mount("/mnt/x", "bind", link, "bind", "src-nofollow")
    bundle.file("mnt/file", "of the image\n")
    result = run(runtime, bundle, f"{READ}; cat /mnt/x")

    assert last_at("/mnt/x", result.out).root.endswith("/link")
    assert result.lines[-1] == "of the image"


def test_without_src_nofollow_the_symlink_is_followed(runtime, bundle, link):
    bundle.mount("/mnt/x", "bind", link, "bind")

    assert runtime.run(bundle, "cat /mnt/x").ok().out == "content\n"


def test_a_symlink_is_covered_and_not_followed(runtime, bundle, link):
    os.symlink("/etc/passwd", f"{bundle.rootfs}/mnt/link")
    bundle.mount("/mnt/link", "bind", os.path.dirname(link) + "/file", "bind", "dest-nofollow")
    result = run(runtime, bundle, "cat /mnt/link; head -c4 /etc/passwd")

    assert result.ok().out == "content\nroot"


def test_dest_nofollow_makes_what_is_missing(runtime, bundle, link):
    source = os.path.dirname(link)
    bundle.mount("/new/file", "bind", f"{source}/file", "bind", "dest-nofollow")
    bundle.mount("/new/directory", "bind", source, "bind", "dest-nofollow")

    assert run(runtime, bundle, "cat /new/file /new/directory/file").ok().lines == ["content"] * 2


@pytest.mark.parametrize("option", ["copy-symlink", "src-nofollow", "dest-nofollow"])
def test_these_options_are_for_bind_mounts(runtime, bundle, option):
    bundle.mount("/mnt", "tmpfs", "tmpfs", option)
    result = run(runtime, bundle, "true")

    assert result.code != 0
    assert f"{option} is for bind mounts" in result.message


# ---- remount -------------------------------------------------------------------------------------
def test_a_bind_remount_changes_the_flags_of_the_mount(runtime, bundle, tmp_path):
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    bundle.mount("/mnt", "bind", str(tmp_path), "bind", "remount", "ro", "noexec")
    found = last_at("/mnt", runtime.run(bundle, READ).ok().out)

    assert {"ro", "noexec"} <= set(found.options)
    assert "ro" not in found.super_options


def test_a_bind_remount_leaves_the_source_writable(runtime, bundle, tmp_path):
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind")
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind", "remount", "ro")

    assert runtime.run(bundle, "touch /mnt/x").code != 0
    (tmp_path / "x").write_text("")


def test_a_remount_gives_the_file_system_new_options(runtime, bundle):
    bundle.mount("/mnt", "tmpfs", "tmpfs", "size=64k")
    bundle.mount("/mnt", "tmpfs", "tmpfs", "remount", "size=128k", "nosuid")
    found = last_at("/mnt", runtime.run(bundle, READ).ok().out)

    assert "size=128k" in found.super_options
    assert "nosuid" in found.options


def test_a_remount_of_nothing_is_an_error(runtime, bundle):
    bundle.mount("/mnt", "bind", "none", "bind", "remount", "ro")
    result = runtime.run(bundle, "true")

    assert result.code != 0
    known_of_runc(runtime, "1.1 words it its own way", seen=True)
    assert "cannot remount /mnt: mount_setattr: EINVAL" in result.message


def test_a_read_only_remount_of_dev_comes_after_the_devices(runtime, bundle):
    bundle.mount("/dev", "tmpfs", "tmpfs", "remount", "ro", "nosuid")
    result = runtime.run(bundle, f"{READ}; echo x >/dev/null && touch /dev/new")
    known_of_runc(runtime, "1.1 makes no devices then", seen=result.code != 0 and not result.out)

    assert "ro" in last_at("/dev", result.out).options
    assert result.code != 0
