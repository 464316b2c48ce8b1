"""What this machine is, from the texts of /proc."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci import host
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.host import Hierarchy


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.44-fc-v782", (6, 18)), ("5.14.0-1.el9.x86_64", (5, 14)), ("6.1+deb", (6, 1)),
        ("7", (7, 0)), ("6.12.0", (6, 12)),
    ],
)  # fmt: skip
def test_a_release_has_a_major_and_a_minor(release, version):
    assert version == host.kernel_version(release)


@pytest.mark.parametrize(
    ("uid_map", "inside"),
    [
        ("         0          0 4294967295\n", False),
        ("         0       1000          1\n", True),
        ("0 0 65536\n", True),
        ("", True),
        ("0 0 1\n1 1 4294967294\n", True),
    ],
)
def test_only_the_identity_of_all_ids_is_the_initial_user_namespace(uid_map, inside):
    assert inside is host.in_user_namespace(uid_map)


HYBRID = """\
24 1 8:1 / / rw - ext4 /dev/sda rw
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw shared:1 master:2 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_a_hybrid_host_has_its_hierarchies_in_mount_order():
    own = {"memory": "/a", "cpu,cpuacct": "/b", "name=systemd": "/c", "": "/d", "pids": "/e"}
    expected = (
        Hierarchy(1, ("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/", "/b"),
        Hierarchy(1, ("memory",), "/sys/fs/cgroup/memory", "/", "/a"),
        Hierarchy(1, ("name=systemd",), "/sys/fs/cgroup/systemd", "/", "/c"),
    )

    assert expected == host.cgroup_hierarchies(HYBRID, own)[:3]
    assert (2, "/d") == (
        host.cgroup_hierarchies(HYBRID, own)[3].version,
        host.cgroup_hierarchies(HYBRID, own)[3].own_path,
    )


def test_the_controllers_of_a_unified_host_are_read_where_it_is_mounted(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    line = f"30 24 0:26 /slice {tmp_path} rw - cgroup2 cgroup2 rw\n"
    expected = (Hierarchy(2, (), f"{tmp_path}", "/slice", "/own", ("cpu", "memory")),)

    assert expected == host.cgroup_hierarchies(line, {"": "/own"})


def test_what_cannot_be_read_offers_no_controllers(tmp_path):
    line = f"30 24 0:26 / {tmp_path}/none rw - cgroup2 cgroup2 rw\n"
    (found,) = host.cgroup_hierarchies(line, {})

    assert ((), "/") == (found.available, found.own_path)


def test_of_a_hierarchy_mounted_twice_the_first_counts():
    line = "32 30 0:28 {root} {point} rw - cgroup cgroup rw,memory\n"
    twice = line.format(root="/", point="/first") + line.format(root="/x", point="/second")
    (found,) = host.cgroup_hierarchies(twice, {"memory": "/"})

    assert "/first" == found.mount_point


SYS = "40 24 0:26 / /sys rw - sysfs sysfs rw\n"
BOUND = "32 {parent} 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def test_a_hierarchy_is_found_whatever_the_order_of_the_lines():
    # A bind mount is made before what it is attached to, and has the smaller id (Linux 6.8).
    root = HYBRID.splitlines(keepends=True)[0]
    (found,) = host.cgroup_hierarchies(root + BOUND.format(parent=40) + SYS, {"": "/"})

    assert "/sys/fs/cgroup" == found.mount_point


@pytest.mark.parametrize("over", ["/sys", "/sys/fs/cgroup", "/"])
def test_a_hierarchy_below_another_mount_is_none(over):
    root = HYBRID.splitlines(keepends=True)[0]
    parent = 32 if over == "/sys/fs/cgroup" else 24
    cover = f"40 {parent} 0:26 / {over} rw - tmpfs tmpfs rw\n"

    for text in (root + BOUND.format(parent=24) + cover, root + cover + BOUND.format(parent=24)):
        assert () == host.cgroup_hierarchies(text, {"": "/"})


def test_octal_escapes_are_undone():
    line = "32 30 0:28 /r\\134040 /a\\040b\\011c\\012d\\134e rw - cgroup cgroup rw,memory\n"
    (found,) = host.cgroup_hierarchies(line, {"memory": "/"})

    assert ("/r\\040", "/a b\tc\nd\\e") == (found.root, found.mount_point)


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_mount_point_cannot_pretend_to_be_a_line(odd):
    # mountinfo escapes space, tab, newline and backslash, and nothing else.
    line = f"32 30 0:28 / /a{odd}b rw - cgroup cgroup rw,memory\n"
    (found,) = host.cgroup_hierarchies(line, {"memory": "/"})

    assert f"/a{odd}b" == found.mount_point


@pytest.mark.parametrize("line", ["", "no separator", "1 2 0:1 / /x rw - tmpfs tmpfs rw,memory"])
def test_other_mounts_are_no_hierarchies(line):
    assert () == host.cgroup_hierarchies(line, {"memory": "/"})


def test_this_machine_is_what_its_kernel_says():
    found = host.detect()

    assert (os.geteuid(), os.getegid(), os.uname().machine) == (
        found.euid,
        found.egid,
        found.machine,
    )
    assert found.kernel >= host.MINIMUM_KERNEL
    assert found.last_capability >= 40
    assert found.unified is all(one.version == 2 for one in found.hierarchies)
    assert found.grantable & 1 << 5  # CAP_KILL


def test_an_old_kernel_is_refused_with_the_one_to_run(monkeypatch):
    monkeypatch.setattr(host, "MINIMUM_KERNEL", (99, 7))
    with pytest.raises(HostError) as caught:
        host.detect()

    assert os.uname().release in caught.value.what
    assert "99.7" in caught.value.hint


def test_a_file_is_read_whole(tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 200_000 + b"\xff")

    assert "x" * 200_000 + "\udcff" == host.read_text(f"{tmp_path}/long")
