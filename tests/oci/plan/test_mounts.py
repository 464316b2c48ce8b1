"""Which steps the mounts of config.json become."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.plan import mounts, sources
from aisbx_runtime.oci.plan.mounts import BindMount, FileSystemMount, MakeMountReadOnly
from aisbx_runtime.oci.plan.remount import Remount
from aisbx_runtime.oci.plan.sources import OpenSource
from aisbx_runtime.oci.spec.model import Mount, Root, Spec
from aisbx_runtime.oci.spec.mount_options import resolve


def spec(*entries: Mount) -> Spec:
    return Spec("1.2.1", Root("r"), mounts=entries)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Mount("/x", "bind", "/y"), True),
        (Mount("/x", "", "/y", ("bind",)), True),
        (Mount("/x", "none", "/y", ("ro", "rbind")), True),
        (Mount("/x", "tmpfs", "tmpfs", ("ro",)), False),
        (Mount("/x", "proc", "proc"), False),
    ],
)
def test_what_binds_is_told_by_type_or_option(entry, expected):
    assert expected is mounts.is_bind(entry)


def test_sources_of_bind_mounts_are_taken_from_the_bundle():
    found = sources.steps(
        spec(
            Mount("/proc", "proc", "proc"),
            Mount("/a", "bind", "data/../x", ("bind",)),
            Mount("/b", "bind", "/srv", ("rbind", "ro")),
        ),
        "/bundle",
    )
    expected = [
        OpenSource("/bundle/x", False, "mounts[1]", "mounts[1].source"),
        OpenSource("/srv", True, "mounts[2]", "mounts[2].source"),
    ]

    assert expected == found
    assert ["take /bundle/x", "take /srv with all below it"] == [one.describe() for one in found]


def test_a_source_is_attached_under_the_key_it_was_taken_with():
    entry = Mount("/b", "bind", "/srv", ("rbind", "ro"))
    (taken,) = sources.steps(spec(entry), "/bundle")
    (attached,) = mounts.steps_of(0, entry, propagation=mount.MS_SLAVE)

    assert taken.key == attached.key
    assert BindMount(
        "/srv", "/b", resolve(("rbind", "ro")), mount.MS_SLAVE, "mounts[0]", "mounts[0]"
    ) == attached  # fmt: skip


def steps_of(*options):
    entry = Mount("/b", "bind", "/srv", options)
    return (
        sources.steps(spec(entry), "/bundle"),
        mounts.steps_of(0, entry, propagation=mount.MS_SLAVE),
    )


def test_a_symlink_that_is_not_followed_is_taken_itself():
    (taken,), _ = steps_of("bind", "src-nofollow")

    assert OpenSource("/srv", False, "mounts[0]", "mounts[0].source", True) == taken
    assert "take the symlink /srv itself" == taken.describe()


def test_a_symlink_to_copy_is_read_and_made_under_one_key():
    (read,), (made,) = steps_of("bind", "copy-symlink")

    assert ("mounts[0].source", "mounts[0]") == (read.origin, made.origin)
    assert read.other.key == made.other.key
    assert "read the symlink /srv, or take /srv" == read.describe()
    assert "copy the symlink /srv to /b, or bind it there" == made.describe()


def test_a_remount_takes_nothing_and_mounts_nothing():
    taken, (step,) = steps_of("bind", "remount", "ro")

    assert [] == taken
    assert Remount("/b", resolve(("bind", "remount", "ro")), "mounts[0]") == step
    assert "change the mount at /b (ro)" == step.describe()


def test_a_file_system_keeps_type_source_and_options():
    entry = Mount("/t", "tmpfs", "shm", ("nosuid", "size=1m"))

    assert [
        FileSystemMount("tmpfs", "shm", "/t", resolve(("nosuid", "size=1m")), "mounts[3]")
    ] == mounts.steps_of(3, entry, propagation=mount.MS_PRIVATE)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Mount("/dev", "tmpfs", "tmpfs", ("ro",)), True),
        (Mount("/dev/", "tmpfs", "tmpfs", ("ro",)), True),
        (Mount("/dev", "tmpfs", "tmpfs", ("ro", "rw")), False),
        (Mount("/dev", "tmpfs", "tmpfs"), False),
        (Mount("/dev", "bind", "/dev", ("ro",)), False),
        (Mount("/dev/shm", "tmpfs", "tmpfs", ("ro",)), False),
    ],
)
def test_a_read_only_dev_stays_writable_until_devices_are_made(entry, expected):
    assert expected is mounts.is_read_only_dev(entry)
    if expected:
        (step,) = mounts.steps_of(0, entry, propagation=0)

        assert 0 == step.options.attr_set & mount.MOUNT_ATTR_RDONLY


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "mount tmpfs at /t"),
        (("ro", "nosuid", "nodev", "noexec"), "mount tmpfs at /t (ro, nosuid, nodev, noexec)"),
        (("rro", "size=1m", "huge"), "mount tmpfs at /t (ro, size=1m, huge)"),
    ],
)
def test_what_is_mounted_is_told_with_its_options(options, said):
    assert said == FileSystemMount("tmpfs", "tmpfs", "/t", resolve(options), "").describe()


def test_what_is_bound_is_told():
    step = BindMount("/srv", "/b", resolve(("rbind", "ro")), mount.MS_SLAVE, "", "")

    assert "bind /srv at /b (ro)" == step.describe()
    assert "make the mount /dev read-only" == MakeMountReadOnly("/dev", "").describe()
