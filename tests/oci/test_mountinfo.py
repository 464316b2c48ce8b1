"""Mounts as the kernel tells of them."""

from __future__ import annotations

import os

from aisbx_runtime.oci import mountinfo
from aisbx_runtime.oci.mountinfo import MountedAt

MOUNTINFO = r"""36 35 98:0 / / rw,noatime - ext4 /dev/root rw
40 36 0:50 /null /proc/a\040b ro,relatime shared:1 master:2 - devtmpfs devtmpfs rw
"""


def test_mounts_are_read_with_their_escapes():
    assert [
        MountedAt(36, 35, "/", "/", "ext4"),
        MountedAt(40, 36, "/null", "/proc/a b", "devtmpfs"),
    ] == mountinfo.mounts_of(MOUNTINFO)


def test_the_end_of_a_line_is_the_kernels_alone():
    text = MOUNTINFO.replace("/proc/a", "/proc/\x0c\x85")

    assert ["/", "/proc/\x0c\x85 b"] == [one.point for one in mountinfo.mounts_of(text)]


def test_the_mount_of_an_fd_is_one_of_ours():
    with open("/proc/self/stat", encoding="ascii") as file:
        number = mountinfo.mount_id_of(file.fileno())
    proc_fd = os.open("/proc", os.O_RDONLY)
    found = [one for one in mountinfo.mounts_here(proc_fd) if one.id == number]
    os.close(proc_fd)

    assert ["proc"] == [one.fs_type for one in found]


def test_what_tells_of_no_mount_has_none(tmp_path):
    (tmp_path / "fdinfo").write_text("pos:\t0\nflags:\t0\n")

    assert -1 == mountinfo.mount_id(str(tmp_path / "fdinfo"))
