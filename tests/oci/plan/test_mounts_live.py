"""Mounting on a real kernel, into a rootfs with traps."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from aisbx_runtime.oci.errors import Failure, KernelError
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.plan import mounts, sources
from aisbx_runtime.oci.plan.mounts import MakeMountReadOnly
from aisbx_runtime.oci.spec.model import Mount, Root, Spec
from tests.oci.forked import forked, mount_tmpfs, mounts_at
from tests.oci.world import apply, open_fds, world

pytestmark = pytest.mark.root


@pytest.fixture
def place(tmp_path):
    """A rootfs, and a directory to bind from, neither of which is a mount yet."""
    for name in ("root", "source/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "source/file").write_text("content")
    return tmp_path


def carry_out(place, *entries: Mount, propagation: int = mount.MS_PRIVATE) -> None:
    """Apply what the entries become, as create and container init do."""
    at = world(place / "root")
    before = open_fds()
    apply(sources.steps(Spec("1.2.1", Root("r"), mounts=entries), f"{place}"), at)
    for index, one in enumerate(entries):
        apply(mounts.steps_of(index, one, propagation=propagation), at)

    assert before == open_fds()
    assert {} == at.trees


def options_of(path) -> set[str]:
    fields = mounts_at(path)[-1]
    return set(fields[5].split(","))


@forked
def test_a_directory_is_bound_at_a_path_that_is_made(place):
    carry_out(place, Mount("/new/target", "bind", "source"))

    assert "content" == (place / "root/new/target/file").read_text()


@forked
def test_a_file_is_bound_on_a_file_that_is_made(place):
    carry_out(place, Mount("/etc/hosts", "bind", f"{place}/source/file"))

    assert "content" == (place / "root/etc/hosts").read_text()


@forked
def test_flags_are_those_asked_for(place):
    carry_out(place, Mount("/t", "bind", "source", ("bind", "ro", "nosuid", "nodev", "noexec")))

    assert {"ro", "nosuid", "nodev", "noexec"} <= options_of(place / "root/t")
    with pytest.raises(OSError, match="Read-only"):
        (place / "root/t/new").touch()


@forked
def test_ro_stops_at_mounts_below_and_rro_does_not(place):
    mount_tmpfs(f"{place}/source/inner")
    carry_out(
        place,
        Mount("/ro", "bind", "source", ("rbind", "ro")),
        Mount("/rro", "bind", "source", ("rbind", "rro")),
        Mount("/one", "bind", "source", ("bind",)),
    )

    assert ("ro" in options_of(place / "root/ro/inner")) is False
    assert "ro" in options_of(place / "root/rro/inner")
    assert [] == mounts_at(place / "root/one/inner")


@pytest.mark.parametrize(
    ("option", "field"), [("rshared", "shared:"), ("rslave", "master:"), ("rprivate", "-")]
)
@forked
def test_propagation_is_what_is_asked_for(place, option, field):
    mount_tmpfs(f"{place}/source")
    fd = os.open(place / "source", os.O_PATH)
    mount.mount_setattr(fd, propagation=mount.MS_SHARED)
    os.close(fd)
    carry_out(place, Mount("/t", "bind", "source", ("rbind", option)), propagation=mount.MS_SLAVE)
    fields = mounts_at(place / "root/t")[-1]

    assert fields[6].startswith(field)


@forked
def test_a_shared_mount_hears_of_mounts_in_its_source(place):
    mount_tmpfs(f"{place}/source")
    fd = os.open(place / "source", os.O_PATH)
    mount.mount_setattr(fd, propagation=mount.MS_SHARED)
    os.close(fd)
    carry_out(
        place, Mount("/t", "bind", "source", ("rbind", "rshared")), propagation=mount.MS_SLAVE
    )
    (place / "root/t/from-inside").mkdir()
    mount_tmpfs(f"{place}/root/t/from-inside")
    (place / "root/t/from-inside/seen").touch()

    assert (place / "source/from-inside/seen").exists()


@forked
def test_a_link_of_the_image_does_not_lead_out(place):
    (place / "outside").mkdir()
    os.makedirs(f"{place}/root/{place}/outside")
    (place / "root/link").symlink_to(f"{place}/outside")
    carry_out(place, Mount("/link/t", "bind", "source"))

    assert [] == os.listdir(place / "outside")
    assert (place / f"root/{place}/outside/t/file").exists()


@pytest.mark.parametrize("target", ["/proc", "/proc/self/attr", "/proc/sys"])
@forked
def test_nothing_but_a_procfs_may_stand_in_for_proc(place, target):
    with pytest.raises(Failure, match="only a procfs"):
        carry_out(place, Mount(target, "bind", "source"))


@forked
def test_a_procfs_may_be_bound_there_and_files_of_lxcfs(place):
    (place / "root/proc").mkdir()
    carry_out(place, Mount("/proc", "bind", "/proc", ("rbind",)))

    assert f"{os.getpid()}" in os.listdir(place / "root/proc")
    carry_out(place, Mount("/proc/meminfo", "bind", "source/file"))

    assert "content" == (place / "root/proc/meminfo").read_text()


@forked
def test_a_tmpfs_has_its_options(place):
    carry_out(place, Mount("/t", "tmpfs", "name", ("nosuid", "size=65536", "mode=1700", "ro")))
    fields = mounts_at(place / "root/t")[-1]

    assert {"ro", "nosuid"} <= options_of(place / "root/t")
    assert ["tmpfs", "name"] == fields[-3:-1]
    assert {"size=64k", "mode=1700"} <= set(fields[-1].split(","))


@forked
def test_a_tmpfs_without_mode_keeps_the_one_of_the_image(place):
    (place / "root/tmp").mkdir()
    (place / "root/tmp").chmod(0o1755)
    carry_out(place, Mount("/tmp", "tmpfs", ""))

    assert 0o1755 == stat.S_IMODE((place / "root/tmp").stat().st_mode)


@forked
def test_a_tmpfs_can_start_with_what_the_image_has(place):
    (place / "root/run").mkdir()
    (place / "root/run/file").write_text("of the image")
    carry_out(place, Mount("/run", "tmpfs", "tmpfs", ("tmpcopyup",)))

    assert "of the image" == (place / "root/run/file").read_text()
    assert 1 == len(mounts_at(place / "root/run"))


@forked
def test_an_unknown_option_is_told_with_the_kernels_words(place):
    with pytest.raises(KernelError) as caught:
        carry_out(place, Mount("/t", "tmpfs", "tmpfs", ("nosuch=1",)))

    assert ("fsconfig", errno.EINVAL) == (caught.value.syscall, caught.value.errno)
    assert "Unknown parameter" in caught.value.filename


@forked
def test_a_superblock_flag_is_set(place):
    carry_out(place, Mount("/t", "tmpfs", "tmpfs", ("sync",)))

    assert "sync" in mounts_at(place / "root/t")[-1][-1].split(",")


@forked
def test_an_option_that_fsconfig_is_too_short_for_is_given_by_mount(place):
    layers = [place / f"{number}{'x' * 100}" for number in range(4)]
    for layer in layers:
        layer.mkdir()
        (layer / layer.name[0]).touch()
    lower = f"lowerdir={':'.join([str(layer) for layer in layers])}"
    carry_out(place, Mount("/t", "overlay", "overlay", (lower, "nosuid")))

    assert ["0", "1", "2", "3"] == sorted(os.listdir(place / "root/t"))
    assert "nosuid" in options_of(place / "root/t")


@pytest.mark.parametrize("trap", ["file", "symlink", "parent"])
@forked
def test_proc_is_only_mounted_on_a_real_directory(place, trap):
    # CVE-2019-16884, CVE-2023-27561: an image whose /proc is a symlink.
    if trap == "file":
        (place / "root/proc").touch()
    elif trap == "symlink":
        (place / "root/elsewhere").mkdir()
        (place / "root/proc").symlink_to("/elsewhere")
    target = "/proc"
    if trap == "parent":
        (place / "root/real").mkdir()
        (place / "root/link").symlink_to("/real")
        target = "/link/proc"
    with pytest.raises(Failure, match="must be mounted on ordinary directory"):
        carry_out(place, Mount(target, "proc", "proc"))


@forked
def test_proc_is_mounted_on_a_directory(place):
    carry_out(place, Mount("/proc", "proc", "proc", ("nosuid",)))

    assert f"{os.getpid()}" in os.listdir(place / "root/proc")


@forked
def test_a_mount_is_made_read_only_afterwards(place):
    carry_out(place, Mount("/dev", "tmpfs", "tmpfs", ("ro", "mode=755")))
    (place / "root/dev/null").touch()
    MakeMountReadOnly("/dev", "").apply(world(place / "root"))

    assert "ro" in options_of(place / "root/dev")
