"""Device nodes and links in /dev."""

from __future__ import annotations

import os
import stat

import pytest

from aisbx_runtime.oci.errors import Failure, KernelError
from aisbx_runtime.oci.plan import devices
from aisbx_runtime.oci.plan.devices import BindDevice, MakeDevice, MakeLinks, OpenDevice
from aisbx_runtime.oci.spec.model import Device, Linux, Mount, Namespace, Root, Spec
from tests import hosts
from tests.oci.forked import forked, mounts_at
from tests.oci.world import apply, open_fds, world

root = pytest.mark.root
NULL = Device("c", "/dev/null", 1, 3, 0o666, 0, 0)


def spec(*listed: Device, mounts=(), user=False) -> Spec:
    namespaces = (Namespace("mount"), *((Namespace("user"),) if user else ()))
    return Spec(
        "1.2.1", Root("r"), mounts=mounts, linux=Linux(devices=listed, namespaces=namespaces)
    )


DEFAULTS = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]


def test_the_devices_of_the_spec_are_there_by_default():
    found = devices.init_steps(spec(), hosts.UNIFIED)

    assert DEFAULTS == [step.device.path for step in found[:-1]]
    assert isinstance(found[-1], MakeLinks)
    assert {"config-linux.md: default devices"} == {step.origin for step in found[:-1]}


def test_what_is_listed_wins_and_the_last_of_two():
    first, last = Device("c", "/dev/null", 1, 5), Device("c", "/dev/null", 1, 3, 0o600)
    fuse = Device("c", "/dev/fuse", 10, 229)
    found = devices.wanted(spec(first, fuse, last))
    wanted = {one.path: (one, origin) for one, origin in found}

    assert (last, "linux.devices[2]") == wanted["/dev/null"]
    assert (fuse, "linux.devices[1]") == wanted["/dev/fuse"]
    assert 7 == len(wanted)


@pytest.mark.parametrize(
    ("user", "host", "binds"),
    [(False, "unified", False), (True, "unified", True), (False, "user", True),
     (False, "rootless", True)],
)  # fmt: skip
def test_where_mknod_is_refused_the_hosts_nodes_are_bound(user, host, binds):
    asked = spec(user=user)
    taken = devices.host_steps(asked, hosts.ALL[host])
    made = devices.init_steps(asked, hosts.ALL[host])

    assert (DEFAULTS if binds else []) == [step.device.path for step in taken]
    assert {BindDevice if binds else MakeDevice} == {type(step) for step in made[:-1]}


@pytest.mark.parametrize(
    ("user", "host"), [(True, hosts.UNIFIED), (False, hosts.ROOTLESS), (False, hosts.USER)]
)
def test_nodes_are_never_bound_in_the_mounts_of_others(user, host):
    for found in ((), (Namespace("mount", "/proc/1/ns/mnt"),)):
        linux = Linux(namespaces=(*found, *([Namespace("user")] if user else [])))
        with pytest.raises(Failure, match="need a new mount namespace"):
            devices.check(Spec("1.0.0", Root("/"), linux=linux), host)


def test_nodes_may_be_made_without_a_mount_namespace():
    assert devices.check(Spec("1.0.0", Root("/")), hosts.UNIFIED) is None


def test_a_fifo_is_made_even_there():
    fifo = Device("p", "/dev/fifo", 0, 0)
    asked = spec(fifo, user=True)

    assert MakeDevice(fifo, "linux.devices[0]") in devices.init_steps(asked, hosts.UNIFIED)
    assert "/dev/fifo" not in [
        step.device.path for step in devices.host_steps(asked, hosts.UNIFIED)
    ]


@pytest.mark.parametrize("destination", ["/dev", "/dev/"])
def test_nothing_is_made_in_the_callers_own_dev(destination):
    asked = spec(mounts=(Mount(destination, "bind", "/dev", ("rbind",)),), user=True)

    assert [] == devices.init_steps(asked, hosts.UNIFIED)
    assert [] == devices.host_steps(asked, hosts.UNIFIED)


def test_what_is_made_is_told():
    steps = (
        MakeDevice(NULL, ""), MakeDevice(Device("p", "/dev/p", 0, 0), ""),
        OpenDevice(Device("c", "/dev/x", 1, 5), None, ""),
        BindDevice("/dev/x", ""), MakeLinks(""),
    )  # fmt: skip
    expected = [
        "make the device /dev/null (c 1:3)",
        "make the device /dev/p (p)",
        "take the host's device /dev/x",
        "bind the host's device at /dev/x",
        "link /dev/fd, /dev/stdin, /dev/stdout, /dev/stderr, /dev/ptmx",
    ]

    assert expected == [step.describe() for step in steps]


# ---- on the kernel -------------------------------------------------------------------------------
def carry_out(step, rootfs) -> None:
    at = world(rootfs)
    os.umask(0)
    before = open_fds()
    step.apply(at)

    assert before == open_fds()


@root
@pytest.mark.parametrize(
    ("device", "kind"),
    [
        (NULL, stat.S_IFCHR),
        (Device("u", "/dev/sub/x", 1, 5, 0o600), stat.S_IFCHR),
        (Device("b", "/elsewhere/b", 7, 0, 0o660, 3, 4), stat.S_IFBLK),
        (Device("p", "/dev/fifo", 0, 0, 0o10622), stat.S_IFIFO),
        (Device("c", "/dev/x", 4095, 1048575), stat.S_IFCHR),
        (Device("c", "/dev/gid", 1, 3, 0o660, None, 5), stat.S_IFCHR),
    ],
)
@forked
def test_a_node_has_its_kind_number_mode_and_owner(tmp_path, device, kind):
    carry_out(MakeDevice(device, ""), tmp_path)
    found = os.lstat(f"{tmp_path}{device.path}")

    assert kind == stat.S_IFMT(found.st_mode)
    assert (0o666 if device.file_mode is None else device.file_mode & 0o7777) == stat.S_IMODE(
        found.st_mode
    )
    assert (device.uid or 0, device.gid or 0) == (found.st_uid, found.st_gid)
    if device.type != "p":
        assert os.makedev(device.major, device.minor) == found.st_rdev


@root
@forked
def test_the_same_node_may_be_there(tmp_path):
    carry_out(MakeDevice(NULL, ""), tmp_path)
    carry_out(MakeDevice(NULL, ""), tmp_path)


@root
@pytest.mark.parametrize("trap", ["file", "symlink", "other", "fifo"])
@forked
def test_anything_else_in_its_place_is_refused(tmp_path, trap):
    (tmp_path / "dev").mkdir()
    path = tmp_path / "dev/null"
    if trap == "file":
        path.touch()
    elif trap == "symlink":
        path.symlink_to("/dev/zero")
    elif trap == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, stat.S_IFCHR, os.makedev(1, 5))
    with pytest.raises(Failure, match="something else there"):
        carry_out(MakeDevice(NULL, ""), tmp_path)


@root
@pytest.mark.parametrize("trap", ["symlink", "file", "parent"])
@forked
def test_dev_must_be_a_real_directory(tmp_path, trap):
    # CVE-2026-41579: a symlink would have nodes made in a directory of the image's choice.
    (tmp_path / "rootfs/real").mkdir(parents=True)
    device = NULL
    if trap == "file":
        (tmp_path / "rootfs/dev").touch()
    elif trap == "symlink":
        (tmp_path / "rootfs/dev").symlink_to("/real")
    else:
        (tmp_path / "rootfs/dev").mkdir()
        (tmp_path / "rootfs/dev/sub").symlink_to("/real")
        device = Device("c", "/dev/sub/null", 1, 3)
    with pytest.raises(Failure, match="must be a real directory"):
        carry_out(MakeDevice(device, ""), tmp_path / "rootfs")

    assert [] == os.listdir(tmp_path / "rootfs/real")


@root
@forked
def test_a_node_that_may_not_be_made_is_named(tmp_path):
    tmp_path.chmod(0o777)
    (tmp_path / "dev").mkdir()
    os.chown(tmp_path / "dev", 65534, 65534)
    at = world(tmp_path)
    os.setresuid(65534, 65534, 65534)
    with pytest.raises(KernelError) as caught:
        MakeDevice(NULL, "").apply(at)

    assert ("mknodat", "/dev/null") == (caught.value.syscall, caught.value.filename)


@root
@forked
def test_a_node_of_the_host_is_bound(tmp_path):
    at = world(tmp_path)
    before = open_fds()
    apply((OpenDevice(NULL, None, ""), BindDevice("/dev/null", "")), at)

    assert os.makedev(1, 3) == (tmp_path / "dev/null").stat().st_rdev
    assert 1 == len(mounts_at(tmp_path / "dev/null"))
    assert before == open_fds()


@root
@forked
def test_links_are_made_where_nothing_is_there(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/stdin").write_text("the image's own")
    carry_out(MakeLinks(""), tmp_path)

    assert ("/proc/self/fd", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx") == tuple(
        os.readlink(tmp_path / "dev" / name) for name in ("fd", "stdout", "stderr", "ptmx")
    )
    assert "the image's own" == (tmp_path / "dev/stdin").read_text()


@root
@pytest.mark.parametrize("trap", ["file", "link", "right"])
@forked
def test_ptmx_is_always_the_containers_own(tmp_path, trap):
    (tmp_path / "dev").mkdir()
    path = tmp_path / "dev/ptmx"
    if trap == "file":
        path.touch()
    else:
        path.symlink_to("/dev/pts/ptmx" if trap == "link" else "pts/ptmx")
    carry_out(MakeLinks(""), tmp_path)

    assert "pts/ptmx" == os.readlink(path)


@root
@forked
def test_links_that_cannot_be_made_are_an_error(tmp_path):
    (tmp_path / "dev").mkdir()
    tmp_path.chmod(0o755)
    at = world(tmp_path)
    os.setresuid(65534, 65534, 65534)
    with pytest.raises(KernelError) as caught:
        MakeLinks("").apply(at)

    assert ("symlinkat", "/dev/fd") == (caught.value.syscall, caught.value.filename)
