"""Id mapping on a real kernel, and its refusals."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.errors import KernelError, StepError
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare
from aisbx_runtime.oci.plan import idmap
from aisbx_runtime.oci.plan.idmap import MapIds
from aisbx_runtime.oci.spec.model import IdMapping
from tests.oci.forked import forked, mount_tmpfs
from tests.oci.world import open_fds, world

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/proc/self/ns/user"), reason="no user namespaces"),
]
UIDS, GIDS = (IdMapping(0, 5000, 10),), (IdMapping(0, 6000, 10),)


def taken(place, source) -> object:
    at = world(place)
    at.trees["k"] = mount.open_tree(mount.AT_FDCWD, f"{source}", mount.OPEN_TREE_CLONE)
    return at


def map_ids(at, source) -> None:
    MapIds(f"{source}", UIDS, GIDS, False, "k", "mounts[0].uidMappings").apply(at)


@forked
def test_owners_are_mapped_and_nothing_is_left_over(tmp_path):
    mount_tmpfs(f"{tmp_path}")
    at = taken(tmp_path, tmp_path)
    before = open_fds()
    map_ids(at, tmp_path)
    found = os.fstat(at.trees["k"])

    assert (5000, 6000) == (found.st_uid, found.st_gid)
    assert before == open_fds()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@forked
def test_a_namespace_by_path_is_used_as_it_is(tmp_path):
    mount_tmpfs(f"{tmp_path}")
    at = taken(tmp_path, tmp_path)
    at.namespace_fds["user"] = idmap.user_namespace("0 70000 1\n", "0 80000 1\n")
    MapIds(f"{tmp_path}", (), (), False, "k", "").apply(at)
    found = os.fstat(at.trees["k"])

    assert (70000, 80000) == (found.st_uid, found.st_gid)


@forked
def test_where_no_source_was_taken_nothing_is_mapped(tmp_path):
    map_ids(world(tmp_path), tmp_path)


@forked
def test_a_file_system_that_knows_no_mapping_is_told(tmp_path):
    with pytest.raises(StepError) as caught:
        map_ids(taken(tmp_path, "/proc/self"), "/proc/self")

    assert "cannot map the ids of /proc/self" == caught.value.what
    assert "mount_setattr: EINVAL /proc/self" == caught.value.why
    assert "knows no id mapping" in caught.value.hint


@forked
def test_a_source_that_is_mapped_already_is_told(tmp_path):
    mount_tmpfs(f"{tmp_path}")
    at = taken(tmp_path, tmp_path)
    map_ids(at, tmp_path)
    with pytest.raises(StepError) as caught:
        map_ids(at, tmp_path)

    assert "mount_setattr: EPERM" in caught.value.why
    assert "id mapped already" in caught.value.hint


def enter_user_namespace() -> None:
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    for name in ("uid_map", "gid_map"):
        if name == "gid_map":
            with open("/proc/self/setgroups", "w") as file:
                file.write("deny")
        with open(f"/proc/self/{name}", "w") as file:
            file.write("0 0 1\n")


@forked
def test_a_file_system_of_the_outer_user_namespace_is_told(tmp_path):
    # What rootless podman's runtime meets: it is root, but not of the host's file systems.
    enter_user_namespace()
    at = taken(tmp_path, tmp_path)
    with pytest.raises(StepError) as caught:
        MapIds(f"{tmp_path}", (IdMapping(0, 0, 1),), (IdMapping(0, 0, 1),), False, "k", "o").apply(
            at
        )

    assert "mount_setattr: EPERM" in caught.value.why
    assert "rootless" in caught.value.hint


@forked
def test_ids_that_the_runtime_does_not_have_cannot_be_mapped():
    enter_user_namespace()
    before = open_fds()
    with pytest.raises(KernelError) as caught:
        idmap.user_namespace("0 5000 1\n", "0 0 1\n")

    assert "uid_map" == caught.value.syscall
    assert before == open_fds()


def test_this_kernel_is_asked_by_doing_it():
    before = open_fds()
    found = idmap.works()

    # The test host's kernel is newer than any that cannot.
    assert found is True
    assert before == open_fds()
