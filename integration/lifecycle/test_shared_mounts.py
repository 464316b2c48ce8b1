"""A container in the mount namespace of the host: its mounts are there as well, and go with it."""

from __future__ import annotations

import pytest

from integration import host, needs
from integration.leaks import mounts

MS_BIND = 4096
pytestmark = needs.devices


@pytest.fixture
def shared(runtime, bundle):
    """A bundle without a mount namespace; what a leak is, the fixtures of every test know."""
    if runtime.name == "runc":
        pytest.skip("documented difference of runc: its mounts stay on the host for good")
    bundle.without_namespace("mount")
    bundle.config["linux"].update(maskedPaths=[], readonlyPaths=[])
    return bundle


def test_its_mounts_are_there_inside(runtime, shared):
    shared.mount("/mnt", "tmpfs", "tmpfs", "size=1m")
    lines = runtime.run(shared, "df -k /mnt | tail -n 1; cat /proc/1/comm").ok().lines

    assert lines[0].split()[0] == "tmpfs"
    assert lines[1] == "cat"


def test_they_lie_below_the_rootfs_and_go_with_the_container(runtime, shared):
    before = mounts()
    container = runtime.started(shared.mount("/mnt", "tmpfs", "tmpfs"))
    during = {line for line in mounts() - before if shared.rootfs in line}
    container.delete("--force").ok()

    assert len(during) > 1
    assert mounts() == before


def test_a_root_that_is_read_only_is_so_inside_alone(runtime, shared):
    shared.config["root"]["readonly"] = True
    result = runtime.run(shared, "touch /file")

    assert "Read-only file system" in result.err
    with open(f"{shared.rootfs}/file", "w"):
        pass


def test_an_engine_s_mount_at_the_rootfs_stays(runtime, shared):
    host.mount(shared.rootfs, shared.rootfs, flags=MS_BIND)
    before = mounts()
    try:
        runtime.run(shared.mount("/mnt", "tmpfs", "tmpfs"), "true").ok()

        assert mounts() == before
    finally:
        host.umount(shared.rootfs)


def test_a_failed_create_leaves_no_mount(runtime, shared):
    before = mounts()
    shared.mount("/mnt", "bind", f"{shared.path}/none", "bind")

    assert runtime.try_create(shared).code != 0
    assert mounts() == before


def test_what_somebody_has_mounted_on_it_is_not_taken_away(runtime, shared):
    container = runtime.started(shared.mount("/mnt", "tmpfs", "tmpfs"))
    host.mount("tmpfs", shared.rootfs, "tmpfs")
    result = container.delete("--force")
    host.umount(shared.rootfs)

    assert result.code != 0
    assert "somebody has mounted something else on it" in result.message
    container.delete("--force").ok()
