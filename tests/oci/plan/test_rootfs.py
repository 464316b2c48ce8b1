"""The root: which steps, and what they leave of the old one."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import Failure, HostError, KernelError
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare
from aisbx_runtime.oci.plan import joined_mounts, rootfs
from aisbx_runtime.oci.plan.joined_mounts import BecomeRoot, NoteRootfs, RefuseHost
from aisbx_runtime.oci.plan.names import SetSysctl
from aisbx_runtime.oci.plan.no_pivot import CoverRoot
from aisbx_runtime.oci.plan.rootfs import (
    AttachRootfs,
    ChangeRoot,
    CloneRootfs,
    CutPropagation,
    MakeRootReadOnly,
    MakeWorkingDirectory,
    OpenProc,
    OpenRoot,
    PivotRoot,
    SetRootPropagation,
)
from aisbx_runtime.oci.plan.shared_mounts import CoverRootfs, TakeCover
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.spec.model import Linux, Mount, Namespace, Root, Spec
from tests import hosts
from tests.oci.forked import forked, mount_tmpfs, mounts_at
from tests.oci.world import apply, world

root = pytest.mark.root
NEW = (Namespace("mount"),)
JOINED = (Namespace("mount", "/proc/1/ns/mnt"),)


def spec(*, path="rootfs", readonly=False, namespaces=NEW, **linux) -> Spec:
    return Spec("1.2.1", Root(path, readonly), linux=Linux(namespaces=namespaces, **linux))


@pytest.mark.parametrize(
    ("path", "found"), [("rootfs", "/b/rootfs"), ("/r", "/r"), ("../x/.", "/x"), (".", "/b")]
)
def test_a_path_is_relative_to_the_bundle(path, found):
    assert found == rootfs.path_of(spec(path=path), "/b")


@pytest.mark.parametrize(
    ("name", "propagation"),
    [("", mount.MS_SLAVE), ("private", mount.MS_PRIVATE), ("rprivate", mount.MS_PRIVATE),
     ("rslave", mount.MS_SLAVE), ("shared", mount.MS_SLAVE), ("unbindable", mount.MS_SLAVE)],
)  # fmt: skip
def test_what_is_inherited_may_at_most_hear_of_the_host(name, propagation):
    assert propagation == rootfs.inherited(spec(rootfs_propagation=name))


def test_with_a_mount_namespace_the_rootfs_is_taken_attached_and_pivoted_to():
    asked = spec()

    assert [CloneRootfs("/b/rootfs", mount.MS_SLAVE, "root.path")] == rootfs.host_steps(asked, "/b")
    assert [
        CutPropagation(mount.MS_SLAVE, "linux.rootfsPropagation"),
        AttachRootfs("/b/rootfs", "root.path"),
    ] == rootfs.attach_steps(asked, "/b")
    assert [PivotRoot("root.path")] == rootfs.pivot_steps(asked, no_pivot=False)
    assert [CoverRoot("--no-pivot"), ChangeRoot("--no-pivot")] == rootfs.pivot_steps(
        asked, no_pivot=True
    )


@pytest.mark.parametrize("namespaces", [(), (Namespace("mount", "/m"),)])
def test_without_one_it_is_opened_and_entered_by_chroot(namespaces):
    asked = spec(namespaces=namespaces)

    assert [] == rootfs.host_steps(asked, "/b")
    assert [OpenRoot("/b/rootfs", "root.path")] == rootfs.attach_steps(asked, "/b")
    assert [ChangeRoot("linux.namespaces")] == rootfs.pivot_steps(asked, no_pivot=False)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (
            "mounts",
            Spec(
                "1.2.1",
                Root("r"),
                mounts=(Mount("/x", "tmpfs"),),
                linux=Linux(namespaces=(Namespace("user"),)),
            ),
        ),
        ("linux.maskedPaths", spec(namespaces=(), masked_paths=("/m",))),
        ("linux.readonlyPaths", spec(namespaces=(), readonly_paths=("/m",))),
        ("root.readonly", spec(namespaces=(Namespace("user"),), readonly=True)),
    ],
)
def test_without_one_nothing_that_changes_mounts_is_done(name, asked):
    with pytest.raises(Failure) as caught:
        rootfs.check(asked)

    assert caught.value.what.startswith(f"{name} needs a new mount namespace")


def test_in_the_mounts_of_the_host_all_lies_below_one_that_is_journalled():
    asked = spec(namespaces=(), readonly=True)
    rootfs.check(asked)

    assert [
        CloneRootfs("/b/rootfs", mount.MS_PRIVATE, "root.path"),
        CoverRootfs("/b/rootfs", "root.path"),
    ] == rootfs.host_steps(asked, "/b")
    assert [TakeCover("root.path")] == rootfs.attach_steps(asked, "/b")
    assert [ChangeRoot("linux.namespaces")] == rootfs.pivot_steps(asked, no_pivot=False)


@pytest.mark.parametrize(
    "asked",
    [
        spec(namespaces=JOINED, readonly=True),
        spec(namespaces=JOINED, masked_paths=("/m",)),
        spec(namespaces=JOINED, readonly_paths=("/m",)),
        Spec("1.2.1", Root("rootfs"), mounts=(Mount("/x", "t"),), linux=Linux(namespaces=JOINED)),
    ],
)
def test_one_that_is_joined_is_pivoted_at_the_very_end(asked):
    rootfs.check(asked)
    origin = "linux.namespaces[0].path"

    assert [
        CloneRootfs("/b/rootfs", mount.MS_SLAVE, "root.path"),
        RefuseHost("/proc/1/ns/mnt", origin),
        NoteRootfs("/proc/1/ns/mnt", origin),
        OpenProc("runtime default"),
    ] == rootfs.host_steps(asked, "/b")
    assert [ChangeRoot("linux.namespaces")] == rootfs.pivot_steps(asked, no_pivot=False)
    assert [BecomeRoot(origin)] == rootfs.last_steps(asked)
    assert [] == rootfs.last_steps(spec())


def test_one_that_is_joined_is_for_root_who_may_pivot():
    joined_mounts.check(hosts.UNIFIED, no_pivot=False)
    with pytest.raises(HostError, match="for root only"):
        joined_mounts.check(hosts.USER, no_pivot=False)
    with pytest.raises(Failure, match="--no-pivot is not for a mount namespace that is joined"):
        joined_mounts.check(hosts.UNIFIED, no_pivot=True)


def test_with_one_everything_is_let_through():
    rootfs.check(spec(readonly=True, masked_paths=("/m",)))
    rootfs.check(spec(namespaces=()))


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("", []),
        ("rslave", []),
        ("rprivate", []),
        ("shared", [SetRootPropagation("shared", "linux.rootfsPropagation")]),
        ("runbindable", [SetRootPropagation("runbindable", "linux.rootfsPropagation")]),
    ],
)
def test_propagation_of_the_root_is_changed_last_and_only_where_it_differs(name, steps):
    assert steps == rootfs.confine_steps(spec(rootfs_propagation=name))


def test_a_read_only_root_is_a_step():
    assert [MakeRootReadOnly("root.readonly")] == rootfs.confine_steps(spec(readonly=True))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (CloneRootfs("/r", mount.MS_SLAVE, ""), "take the rootfs /r"),
        (CutPropagation(mount.MS_SLAVE, ""), "make every inherited mount a slave"),
        (CutPropagation(mount.MS_PRIVATE, ""), "make every inherited mount private"),
        (AttachRootfs("/r", ""), "attach the rootfs at /r"),
        (OpenRoot("/r", ""), "open the rootfs /r"),
        (PivotRoot(""), "pivot to the rootfs and detach the old root"),
        (ChangeRoot(""), "chroot to the rootfs"),
        (SetRootPropagation("shared", ""), "make the root shared"),
        (MakeRootReadOnly(""), "make the root read-only"),
        (OpenProc(""), "keep a private procfs"),
        (MakeWorkingDirectory("/w", ""), "make the working directory /w if it is missing"),
    ],
)
def test_what_is_done_is_told(step, said):
    assert said == step.describe()


# ---- on the kernel -------------------------------------------------------------------------------
def enter(path, *more, no_pivot=False) -> World:
    at = World("one", "/bundle")
    asked = spec(path=f"{path}")
    apply(rootfs.host_steps(asked, "/"), at)
    apply(rootfs.attach_steps(asked, "/"), at)
    apply(more, at)
    apply(rootfs.pivot_steps(asked, no_pivot=no_pivot), at)
    return at


@root
@pytest.mark.parametrize("no_pivot", [False, True])
@forked
def test_the_rootfs_is_the_root_and_no_path_leads_back(tmp_path, no_pivot):
    (tmp_path / "proc").mkdir()
    enter(tmp_path, OpenProc(""), no_pivot=no_pivot)

    assert ["proc"] == os.listdir("/")
    assert "/" == os.getcwd()
    assert ["proc"] == os.listdir("/..")


@root
@pytest.mark.parametrize("no_pivot", [False, True])
@forked
def test_no_mount_of_the_host_is_left(tmp_path, no_pivot):
    # Without pivot_root the old root alone is, below the new one.
    (tmp_path / "proc").mkdir()
    at = enter(tmp_path, OpenProc(""), no_pivot=no_pivot)
    os.fchdir(at.proc_fd)
    with open("self/mounts") as file:
        points = [line.split()[1] for line in file]
    with open("1/mounts" if no_pivot else "self/mounts") as file:
        assert file.read()

    assert ["/"] == points


@root
@forked
def test_mounts_below_the_rootfs_come_along(tmp_path):
    (tmp_path / "inner").mkdir()
    mount_tmpfs(f"{tmp_path}/inner")
    (tmp_path / "inner/file").touch()
    enter(tmp_path)

    assert ["file"] == os.listdir("/inner")


@root
@forked
def test_what_the_container_mounts_is_not_seen_where_the_rootfs_is_shared(tmp_path):
    (tmp_path / "r/inner").mkdir(parents=True)
    mount_tmpfs(f"{tmp_path}/r")
    (tmp_path / "r/inner").mkdir()
    shared_fd = os.open(tmp_path / "r", os.O_PATH)
    mount.mount_setattr(shared_fd, propagation=mount.MS_SHARED)
    outside_fd = os.open(tmp_path / "r/inner", os.O_PATH)
    at = World("one", "/bundle")
    CloneRootfs(f"{tmp_path}/r", mount.MS_SLAVE, "").apply(at)
    inside_fd = os.open("inner", os.O_PATH, dir_fd=at.trees["root"])
    os.fchdir(inside_fd)
    AttachRootfs("/", "").apply(at)
    mount_tmpfs(".")
    os.close(outside_fd)

    assert [] == os.listdir(tmp_path / "r/inner")
    assert 1 == len(mounts_at(f"{tmp_path}/r"))


@root
@forked
def test_inherited_mounts_are_cut_off():
    CutPropagation(mount.MS_PRIVATE, "").apply(World("one", "/bundle"))
    with open("/proc/self/mountinfo") as lines:
        assert not [line for line in lines if "shared:" in line or "master:" in line]


@root
@forked
def test_a_rootfs_where_the_path_may_not_be_walked_is_attached_over_the_root(tmp_path):
    (tmp_path / "private/r").mkdir(parents=True)
    at = World("one", "/bundle")
    CloneRootfs(f"{tmp_path}/private/r", mount.MS_SLAVE, "").apply(at)
    (tmp_path / "private").chmod(0)
    # Root passes through any directory: the path of a user namespace is tested with a container.
    AttachRootfs(f"{tmp_path}/private/r", "").apply(at)

    assert at.root_fd == at.trees["root"]


@root
@forked
def test_a_target_that_is_gone_is_an_error(tmp_path):
    (tmp_path / "r").mkdir()
    at = World("one", "/bundle")
    CloneRootfs(f"{tmp_path}/r", mount.MS_SLAVE, "").apply(at)
    with pytest.raises(KernelError) as caught:
        AttachRootfs(f"{tmp_path}/none", "").apply(at)

    assert errno.ENOENT == caught.value.errno


@root
@forked
def test_the_root_becomes_read_only_and_what_is_below_does_not(tmp_path):
    (tmp_path / "inner").mkdir()
    mount_tmpfs(f"{tmp_path}/inner")
    at = enter(tmp_path)
    MakeRootReadOnly("").apply(at)
    with open("/inner/file", "w"):
        pass
    with pytest.raises(OSError, match="Read-only"), open("/file", "w"):
        pass


@root
@pytest.mark.parametrize(("name", "field"), [("shared", "shared:"), ("rshared", "shared:"),
                                             ("unbindable", "unbindable")])  # fmt: skip
@forked
def test_the_root_gets_its_propagation(tmp_path, name, field):
    (tmp_path / "proc").mkdir()
    at = enter(tmp_path, OpenProc(""))
    SetRootPropagation(name, "").apply(at)
    os.fchdir(at.proc_fd)
    with open("self/mountinfo") as file:
        (line,) = [line for line in file if line.split()[4] == "/"]

    assert field in line


@root
@forked
def test_a_procfs_is_kept_without_what_covers_it(tmp_path):
    (tmp_path / "trap").touch()
    tree_fd = mount.open_tree(mount.AT_FDCWD, f"{tmp_path}/trap", mount.OPEN_TREE_CLONE)
    mount.move_mount_to_path(tree_fd, "/proc/uptime")
    at = World("one", "/bundle")
    OpenProc("").apply(at)
    fd = os.open("uptime", os.O_RDONLY, dir_fd=at.proc_fd)

    assert b"." in os.read(fd, 100)


@root
@forked
def test_a_procfs_is_kept_where_what_covers_it_cannot_be_taken_off():
    # As systemd's binfmt_misc for podman without root: mount_namespaces(7), "locked".
    mount_tmpfs("/proc/sys/fs")
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    at = World("one", "/bundle")
    OpenProc("").apply(at)
    os.close(os.open("uptime", os.O_RDONLY, dir_fd=at.proc_fd))
    with pytest.raises(KernelError) as caught:
        SetSysctl("fs.anything", "1", "").apply(at)

    assert errno.EXDEV == caught.value.errno


@root
@forked
def test_a_working_directory_is_made_inside(tmp_path):
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs/etc").mkdir()
    (tmp_path / "rootfs/link").symlink_to("/etc")
    MakeWorkingDirectory("/link/a/b", "").apply(world(tmp_path / "rootfs"))

    assert (tmp_path / "rootfs/etc/a/b").is_dir()


def test_a_rootfs_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KernelError) as caught:
        OpenRoot(f"{tmp_path}/none", "").apply(World("one", "/bundle"))

    assert ("open", errno.ENOENT, f"{tmp_path}/none") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


def test_a_rootfs_is_opened_without_being_entered(tmp_path):
    at = World("one", "/bundle")
    OpenRoot(f"{tmp_path}", "").apply(at)

    assert os.path.samestat(os.fstat(at.root_fd), tmp_path.stat())
    os.close(at.root_fd)


def test_a_mount_on_the_root_needs_a_mount_namespace():
    """In the host's it could not be told from what an engine mounts at the same path."""
    one = Spec("1.2.1", Root("rootfs"), mounts=(Mount("//", "tmpfs"),))

    with pytest.raises(Failure, match="a mount at / needs a new mount namespace"):
        rootfs.check(one)
