"""Names of what is outside: the parts that read text; the rest is in integration/lifecycle."""

from __future__ import annotations

import os

from aisbx_runtime.oci.criu import image, outside, wire


def test_pipes_and_files_outside_get_our_descriptors():
    names = ["pipe:[5]", "/dev/null", "pipe:[6]", "pipe:[7]"]

    assert [("pipe:[5]", 0), ("pipe:[6]", 2)] == outside.inherited(names)
    assert [("file[1a:2b]", 0)] == outside.inherited(["file[1a:2b]", "file[1a:2b]", ""])


def test_own_descriptors_are_told_apart(tmp_path):
    # All mounts of this process are its own, so that none of its files is outside.
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(f"{tmp_path}/file", os.O_CREAT | os.O_WRONLY), 0)
        os.dup2(write_fd, 1)
        os.close(2)
        os.read(read_fd, 1)
        os._exit(0)
    try:
        while "file" not in os.readlink(f"/proc/{pid}/fd/0") or os.path.exists(f"/proc/{pid}/fd/2"):
            os.sched_yield()
        found = outside.descriptors(pid)
    finally:
        os.write(write_fd, b"x")
        os.waitpid(pid, 0)

    assert f"{tmp_path}/file" == found[0]
    assert os.readlink(f"/proc/self/fd/{write_fd}") == found[1]
    assert "" == found[2]
    os.close(read_fd)
    os.close(write_fd)


def cgroup_image(tmp_path, message):
    (tmp_path / "cgroup.img").write_bytes(bytes(8) + len(message).to_bytes(4, "little") + message)
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


def heads(tmp_path, message):
    fd = cgroup_image(tmp_path, message)
    try:
        return image.cgroup_heads(fd)
    finally:
        os.close(fd)


def test_an_image_tells_whose_cgroups_it_holds(tmp_path):
    directory = wire.bytes_field(1, b"ctr/below") + wire.bytes_field(2, b"")
    controller = wire.bytes_field(1, b"pids") + wire.bytes_field(2, directory)
    sets = wire.bytes_field(1, b"\x08\x01")

    assert ["/ctr/below"] == heads(tmp_path, sets + wire.bytes_field(2, controller))
    assert [] == heads(tmp_path, sets)
    assert [] == heads(tmp_path, b"\xff")


def test_an_image_without_cgroups_has_none(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert [] == image.cgroup_heads(fd)
    finally:
        os.close(fd)
