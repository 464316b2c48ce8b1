"""Looking into a hostile rootfs: links stay inside, and what is no plain file is not read."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.sandbox import inside
from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.users import user_of


@pytest.fixture
def rootfs(tmp_path):
    """A rootfs beside a file that nobody may reach."""
    (tmp_path / "secret").write_text("evil:x:0:0:::\n")
    (tmp_path / "rootfs/etc").mkdir(parents=True)
    (tmp_path / "rootfs/etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1001::/:\nbad:x:y:z::/:\nshort:x\n"
        "late:x:4294967295:0::/:\n"
    )
    (tmp_path / "rootfs/etc/group").write_text(
        "staff:x:50:root,guest\nother:x:51:\nstaff2:x:52:guest\n"
    )
    return tmp_path / "rootfs"


@pytest.mark.parametrize("target", ["../../secret", "/../secret", "../../../../../../../secret"])
def test_a_link_does_not_lead_out(rootfs, target):
    (rootfs / "etc/link").symlink_to(target)

    assert inside.read_file(str(rootfs), "/etc/link") is None


def test_an_absolute_link_is_meant_from_the_root_inside(rootfs):
    (rootfs / "usr").mkdir()
    (rootfs / "usr/passwd").write_text("found")
    (rootfs / "etc/link").symlink_to("/usr/passwd")

    assert inside.read_file(str(rootfs), "/etc/link") == b"found"
    assert inside.real_path(str(rootfs), "/etc/../etc/link") == "/usr/passwd"


def test_a_directory_that_is_a_link_stays_inside(rootfs):
    (rootfs / "var").symlink_to("../..")

    assert inside.real_path(str(rootfs), "/var/secret") is None
    assert inside.real_path(str(rootfs), "/var/etc/passwd") == "/etc/passwd"


def test_links_in_a_circle_are_an_error(rootfs):
    (rootfs / "a").symlink_to("b")
    (rootfs / "b").symlink_to("a")

    with pytest.raises(InputError, match="ELOOP"):
        inside.real_path(str(rootfs), "/a")


@pytest.mark.parametrize("kind", ["fifo", "directory", "large"])
def test_what_is_no_small_file_is_not_read(rootfs, kind):
    path = rootfs / "etc/odd"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"")
        os.truncate(path, inside.MAX_FILE_BYTES + 1)

    with pytest.raises(InputError, match="not what it should be"):
        inside.read_file(str(rootfs), "/etc/odd")


def test_no_fd_is_left_open(rootfs):
    (rootfs / "a").symlink_to("b")
    before = len(os.listdir("/proc/self/fd"))
    inside.read_file(str(rootfs), "/etc/passwd")
    inside.read_file(str(rootfs), "/etc/none")
    inside.real_path(str(rootfs), "/a/b/../../c")

    assert before == len(os.listdir("/proc/self/fd"))


# ---- users ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("guest", {"uid": 1000, "gid": 1001, "additionalGids": [50, 52]}),
        ("guest:other", {"uid": 1000, "gid": 51}),
        ("guest:7", {"uid": 1000, "gid": 7}),
        ("1000", {"uid": 1000, "gid": 1001}),
        ("1234", {"uid": 1234, "gid": 0}),
        ("1234:staff", {"uid": 1234, "gid": 50}),
        ("0:0", {"uid": 0, "gid": 0}),
        ("root", {"uid": 0, "gid": 0, "additionalGids": [50]}),
    ],
)
def test_users_are_those_of_the_image(rootfs, text, user):
    assert user == user_of(str(rootfs), text)


@pytest.mark.parametrize(
    "text", ["nobody", "bad", "short", "late", "guest:none", ":0", "4294967295", "9" * 30, "-1"]
)
def test_who_is_not_there_is_an_error(rootfs, text):
    with pytest.raises(InputError):
        user_of(str(rootfs), text)


def test_a_passwd_that_leads_out_is_not_read(rootfs):
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to("../../secret")

    with pytest.raises(InputError, match="no user 'evil'"):
        user_of(str(rootfs), "evil")


def test_numbers_need_no_passwd(rootfs):
    (rootfs / "etc/passwd").unlink()
    os.mkfifo(rootfs / "etc/passwd")

    assert user_of(str(rootfs), "5:6") == {"uid": 5, "gid": 6}
