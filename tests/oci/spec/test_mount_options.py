"""What mount options ask for."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.spec import mount_options
from aisbx_runtime.oci.spec.mount_options import MountOptions, resolve

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
ATIME, NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000

# config.md, "Linux mount options": every option of the table.
TABLE = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "rnoatime",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
    "idmap",
    "ridmap",
    "rnodev",
]


@pytest.mark.parametrize("option", TABLE)
def test_no_option_of_the_specification_reaches_the_file_system(option):
    assert resolve((option,)).data == ()


@pytest.mark.parametrize(
    ("options", "set_", "clear"),
    [
        ("ro", RDONLY, 0),
        ("rw", 0, RDONLY),
        ("ro rw", 0, RDONLY),
        ("rw ro", RDONLY, 0),
        ("nosuid nodev noexec", NOSUID | NODEV | NOEXEC, 0),
        ("nosuid nodev noexec exec dev suid", 0, NOSUID | NODEV | NOEXEC),
        ("nodiratime", NODIRATIME, 0),
        ("diratime", 0, NODIRATIME),
        ("nosymfollow", NOSYMFOLLOW, 0),
        ("symfollow", 0, NOSYMFOLLOW),
        ("noatime", NOATIME, ATIME),
        ("strictatime", STRICTATIME, ATIME),
        ("relatime", 0, ATIME),
        ("noatime relatime", 0, ATIME),
        ("noatime strictatime", STRICTATIME, ATIME),
        ("noatime atime", 0, ATIME),
        ("strictatime atime", STRICTATIME, ATIME),
        ("strictatime nostrictatime", 0, ATIME),
        ("noatime nostrictatime", NOATIME, ATIME),
        ("relatime norelatime", 0, ATIME),
        ("norelatime defaults silent loud iversion noiversion", 0, 0),
    ],
)
def test_attributes_of_the_mount_and_of_the_tree(options, set_, clear):
    mount = resolve(tuple(options.split()))
    ways = mount_options.IGNORED - {"norelatime"}
    tree = resolve(tuple("r" + option for option in options.split() if option not in ways))

    assert (set_, clear) == (mount.attr_set, mount.attr_clr)
    assert (0, 0) == (mount.rec_attr_set, mount.rec_attr_clr)
    assert (set_, clear) == (tree.rec_attr_set, tree.rec_attr_clr)
    assert (0, 0) == (tree.attr_set, tree.attr_clr)
    assert tree.superblock == ()


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ("ro", ("ro",)),
        ("ro rw", ()),
        ("sync dirsync lazytime mand", ("sync", "dirsync", "lazytime", "mand")),
        ("sync lazytime mand async nolazytime nomand", ()),
        ("async sync", ("sync",)),
    ],
)
def test_flags_of_the_superblock(options, flags):
    assert flags == resolve(tuple(options.split())).superblock


@pytest.mark.parametrize(
    ("options", "propagation", "recursive"),
    [
        ("", 0, False),
        ("private", 1 << 18, False),
        ("rprivate", 1 << 18, True),
        ("slave", 1 << 19, False),
        ("rslave", 1 << 19, True),
        ("shared", 1 << 20, False),
        ("rshared", 1 << 20, True),
        ("unbindable", 1 << 17, False),
        ("runbindable", 1 << 17, True),
        ("rshared private", 1 << 18, False),
    ],
)
def test_propagation_is_the_last_one_named(options, propagation, recursive):
    resolved = resolve(tuple(options.split()))

    assert (propagation, recursive) == (resolved.propagation, resolved.propagation_recursive)


def test_rbind_is_a_bind_in_any_order():
    assert resolve(("bind",)) == MountOptions(bind=True)
    assert resolve(("bind", "rbind")) == MountOptions(bind=True, recursive_bind=True)
    assert resolve(("rbind", "bind")) == MountOptions(bind=True, recursive_bind=True)


def test_ways_of_mounting_are_flags():
    everything = [
        "remount",
        "tmpcopyup",
        "idmap",
        "ridmap",
        "copy-symlink",
        "src-nofollow",
        "dest-nofollow",
    ]

    assert resolve(tuple(everything)) == MountOptions(
        remount=True,
        tmpcopyup=True,
        idmap=True,
        ridmap=True,
        copy_symlink=True,
        src_nofollow=True,
        dest_nofollow=True,
    )


def test_what_is_left_is_for_the_file_system_in_order():
    options = ("size=65536k", "", "newinstance", "ro", "mode=", "lowerdir=/a:/b", "x=y=z")

    assert resolve(options).data == (
        ("size", "65536k"),
        ("newinstance", None),
        ("mode", ""),
        ("lowerdir", "/a:/b"),
        ("x", "y=z"),
    )


def test_the_quotes_of_an_selinux_context_are_taken_off():
    options = ('context="system_u:object_r:container_file_t:s0:c1,c2"', 'x="y"')

    assert resolve(options).data == (
        ("context", "system_u:object_r:container_file_t:s0:c1,c2"),
        ("x", '"y"'),
    )


def test_no_option_asks_for_nothing():
    assert resolve(()) == MountOptions()
