"""Mounts: kinds, sources and destinations. The table of options has its own file."""

from __future__ import annotations

import os

import pytest

from integration import host, needs
from integration.mountinfo import last_at

READ = "cat /proc/self/mountinfo"


def test_the_default_mounts_are_there(runtime, bundle):
    text = runtime.run(bundle, READ).ok().out
    found = {
        target: last_at(target, text).fstype
        for target in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys")
    }

    assert found == {
        "/proc": "proc",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
        "/sys": "sysfs",
    }


def test_nothing_of_the_host_is_left_mounted(runtime, bundle):
    lines = runtime.run(bundle, READ).ok().lines
    allowed = ("/", "/proc", "/dev", "/sys")
    targets = [line.split()[4] for line in lines]

    assert [path for path in targets if not path.startswith(allowed)] == []
    assert targets.count("/") == 1


def test_a_directory_is_bound(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind")

    assert runtime.run(bundle, "cat /mnt/file").out == "text"


@pytest.mark.parametrize("fstype", ["bind", "none", ""])
def test_the_option_makes_a_bind_whatever_the_type(runtime, bundle, tmp_path, fstype):
    (tmp_path / "file").write_text("text")
    bundle.mount("/mnt", fstype, str(tmp_path), "rbind")

    assert runtime.run(bundle, "cat /mnt/file").out == "text"


def test_the_type_bind_without_an_option_is_a_bind(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/mnt", "bind", str(tmp_path), "bind")

    assert runtime.run(bundle, "cat /mnt/file").out == "text"


def test_a_file_is_bound(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/etc/file", "bind", str(tmp_path / "file"), "bind", "ro")

    assert runtime.run(bundle, "cat /etc/file").out == "text"


def test_a_device_is_bound(runtime, bundle):
    bundle.mount("/dev/mine", "bind", "/dev/null", "bind")

    assert runtime.run(bundle, "echo x >/dev/mine && test -c /dev/mine").code == 0


def test_a_source_that_is_relative_is_below_the_bundle(runtime, bundle):
    os.mkdir(f"{bundle.path}/data")
    with open(f"{bundle.path}/data/file", "w") as out:
        out.write("text")
    bundle.mount("/mnt", "bind", "data", "rbind")

    assert runtime.run(bundle, "cat /mnt/file").out == "text"


def test_a_missing_destination_is_made(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/a/b/c", "bind", str(tmp_path), "rbind")

    assert runtime.run(bundle, "cat /a/b/c/file").out == "text"


def test_a_missing_destination_of_a_file_is_made(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/a/b/file", "bind", str(tmp_path / "file"), "bind")

    assert runtime.run(bundle, "cat /a/b/file").out == "text"


def test_mounts_are_made_in_the_order_of_the_list(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    bundle.mount("/mnt/inner", "bind", str(tmp_path), "rbind")

    assert runtime.run(bundle, "cat /mnt/inner/file").out == "text"


def mixed(bundle, directory):
    """Give it bind mounts of every kind, each between other mounts."""
    bundle.mount("/mnt/0", "bind", directory, "rbind", "ro")
    bundle.mount("/mnt/1", "tmpfs", "tmpfs")
    bundle.mount("/mnt/2", "bind", "/etc/hostname", "bind", "nosuid")
    bundle.mount("/mnt/3", "tmpfs", "tmpfs")
    bundle.mount("/mnt/4", "bind", directory, "bind", "rshared")
    bundle.mount("/mnt/5", "tmpfs", "tmpfs")
    bundle.mount("/mnt/6", "bind", "/etc/hostname", "bind", "shared")
    bundle.mount("/mnt/7", "tmpfs", "tmpfs")
    bundle.mount("/mnt/8", "bind", bundle.path, "rbind")
    bundle.mount("/mnt/9", "tmpfs", "tmpfs")
    return [one["destination"] for one in bundle.config["mounts"]]


def test_mountinfo_is_in_the_order_of_the_list(runtime, bundle, tmp_path):
    # Since Linux 6.8 it goes by the age of mounts; OCI's runtimetest takes it for their order.
    listed = mixed(bundle, str(tmp_path))
    shown = [line.split()[4] for line in runtime.run(bundle, READ).ok().lines]

    assert [path for path in shown if path in listed] == listed


@needs.rights
def test_mountinfo_is_in_the_order_of_the_list_in_a_user_namespace(runtime, bundle, tmp_path):
    listed = mixed(bundle.user_namespace(), str(tmp_path))
    shown = [line.split()[4] for line in runtime.run(bundle, READ).ok().lines]

    assert [path for path in shown if path in listed] == listed


def test_a_later_mount_covers_an_earlier_one(runtime, bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind")
    bundle.mount("/mnt", "tmpfs", "tmpfs")

    assert runtime.run(bundle, "ls /mnt").out == ""


@pytest.mark.parametrize("link", ["/srv", "../../../../../srv", "srv"])
def test_a_symlink_in_the_destination_stays_inside(runtime, bundle, tmp_path, link):
    (tmp_path / "file").write_text("text")
    os.symlink(link, f"{bundle.rootfs}/link")
    bundle.mount("/link/deep", "bind", str(tmp_path), "rbind")

    assert runtime.run(bundle, "cat /srv/deep/file").out == "text"


def test_a_symlink_to_a_host_directory_makes_nothing_there(runtime, bundle, tmp_path):
    # CVE-2024-45310, CVE-2026-41579 and their kin.
    victim = tmp_path / "victim"
    victim.mkdir()
    os.symlink(victim, f"{bundle.rootfs}/link")
    bundle.mount("/link/deep/file", "bind", "/dev/null", "bind")
    bundle.mount("/link/other", "tmpfs", "tmpfs")
    runtime.run(bundle, "true")

    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_as_a_symlink_is_refused(runtime, bundle, name):
    # CVE-2019-19921, CVE-2023-27561, CVE-2025-54867.
    os.rmdir(f"{bundle.rootfs}/{name}")
    os.symlink("/srv", f"{bundle.rootfs}/{name}")

    assert runtime.run(bundle, "true").code != 0


def test_tmpcopyup_fills_a_tmpfs(runtime, bundle):
    os.mkdir(f"{bundle.rootfs}/srv/sub")
    bundle.file("srv/sub/file", "text", 0o640)
    os.symlink("sub/file", f"{bundle.rootfs}/srv/link")
    bundle.mount("/srv", "tmpfs", "tmpfs", "tmpcopyup", "mode=750")
    result = runtime.run(bundle, "cat /srv/link; stat -c %a /srv/sub/file; echo x >/srv/sub/file")

    assert (result.code, result.out) == (0, "text640\n")
    with open(f"{bundle.rootfs}/srv/sub/file") as text:
        assert text.read() == "text"


@needs.rights
def test_an_overlay_is_mounted(runtime, bundle, scratch):
    layers = {name: f"{bundle.path}/{name}" for name in ("lower", "upper", "work")}
    for path in layers.values():
        os.mkdir(path)
    with open(f"{layers['lower']}/file", "w") as out:
        out.write("text")
    options = [f"lowerdir={layers['lower']}", f"upperdir={layers['upper']}"]
    bundle.mount("/mnt", "overlay", "overlay", *options, f"workdir={layers['work']}", "private")
    result = runtime.run(bundle, "cat /mnt/file; echo new >/mnt/file")

    assert (result.code, result.out) == (0, "text")
    assert os.listdir(layers["upper"]) == ["file"]


def test_devpts_is_a_new_instance(runtime, bundle):
    bundle.script("ls /dev/pts; stat -c %a /dev/pts/ptmx; readlink /dev/ptmx")

    assert runtime.run(bundle).ok().lines == ["ptmx", "666", "pts/ptmx"]


@needs.hierarchies_of_v1
def test_the_cgroup_mount_shows_the_cgroup_of_the_container(runtime, bundle):
    result = runtime.run(bundle, "cat /sys/fs/cgroup/pids/cgroup.procs")

    assert "1" in result.ok().lines


def test_the_cgroup_mount_is_read_only(runtime, bundle):
    bundle.all_capabilities("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE")
    path = "/sys/fs/cgroup" if host.unified() else "/sys/fs/cgroup/pids"

    assert runtime.run(bundle, f"mkdir {path}/x").code != 0


def test_a_container_without_a_cgroup_mount_runs(runtime, bundle):
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "cgroup"]

    assert runtime.run(bundle, "true").code == 0


def test_a_container_without_a_dev_mount_runs(runtime, bundle):
    mounts = bundle.config["mounts"]
    bundle.config["mounts"] = [m for m in mounts if not m["destination"].startswith("/dev")]

    assert runtime.run(bundle, "echo x >/dev/null").code == 0


def test_a_missing_source_is_a_failure(runtime, bundle):
    bundle.mount("/mnt", "bind", "/no/such/source", "rbind")

    assert runtime.run(bundle, "true").code != 0


def test_an_unknown_filesystem_is_a_failure(runtime, bundle):
    bundle.mount("/mnt", "nosuchfs", "none")

    assert runtime.run(bundle, "true").code != 0


@pytest.mark.parametrize("value", ["private", "rprivate"])
def test_a_private_root_has_no_peers(runtime, bundle, value):
    bundle.config["linux"]["rootfsPropagation"] = value

    assert last_at("/", runtime.run(bundle, READ).ok().out).propagation == set()


@pytest.mark.parametrize("value", ["shared", "rshared"])
def test_a_mount_made_inside_a_shared_mount_reaches_the_host(runtime, bundle, shared, value):
    bundle.config["linux"]["rootfsPropagation"] = value
    bundle.all_capabilities("CAP_SYS_ADMIN")
    bundle.mount("/mnt", "bind", shared, "rbind", "rshared")
    container = runtime.started(bundle)
    container.sh("mkdir /mnt/x && mount -t tmpfs t /mnt/x && echo text >/mnt/x/file")
    seen = os.listdir(f"{shared}/x")
    container.sh("umount /mnt/x")

    assert seen == ["file"]


def test_what_is_mounted_below_a_shared_source_stays_there(runtime, bundle, shared):
    # The copies of a shared mount are its peers: what is taken from one of them leaves them all.
    bundle.config["linux"]["rootfsPropagation"] = "rshared"
    os.mkdir(f"{shared}/below")
    host.mount("tmpfs", f"{shared}/below", "tmpfs")
    bundle.mount("/mnt", "bind", shared, "rbind", "rshared")
    inside = runtime.run(bundle, "grep -c ' /mnt' /proc/self/mountinfo").out
    stays = os.path.ismount(f"{shared}/below")
    host.umount(f"{shared}/below")

    assert (inside, stays) == ("2\n", True)


@pytest.mark.parametrize("value", ["slave", "rslave"])
def test_a_mount_made_on_the_host_reaches_a_slave(runtime, bundle, shared, value):
    bundle.config["linux"]["rootfsPropagation"] = value
    bundle.mount("/mnt", "bind", shared, "rbind", "rslave")
    container = runtime.started(bundle)
    os.mkdir(f"{shared}/later")
    host.mount("tmpfs", f"{shared}/later", "tmpfs")
    seen = container.sh("grep -c ' /mnt/later ' /proc/self/mountinfo || true")
    host.umount(f"{shared}/later")

    assert seen == "1\n"


def test_a_mount_made_inside_a_slave_does_not_reach_the_host(runtime, bundle, shared):
    bundle.config["linux"]["rootfsPropagation"] = "rslave"
    bundle.all_capabilities("CAP_SYS_ADMIN")
    bundle.mount("/mnt", "bind", shared, "rbind", "rslave")

    assert runtime.run(bundle, "mkdir /mnt/x && mount -t tmpfs t /mnt/x").code == 0
    # The leak check compares the mounts of the host.


def test_without_pivot_the_old_root_is_covered(runtime, bundle):
    # A mere chroot may not make user namespaces (user_namespaces(7)), and can be left by "..".
    result = runtime.run(bundle, "unshare -U true && echo whole", "--no-pivot")

    assert ["whole"] == result.ok().lines


def test_a_tmpfs_where_the_image_has_nothing_is_for_everybody(runtime, bundle):
    bundle.mount("/scratch", "tmpfs", "tmpfs")
    bundle.mount("/scratch/copied", "tmpfs", "tmpfs", "tmpcopyup")
    bundle.mount("/opt", "tmpfs", "tmpfs")

    assert runtime.run(bundle, "stat -c %a /scratch /scratch/copied /opt").lines == [
        "1777",
        "1777",
        "755",
    ]


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
@pytest.mark.parametrize("fs_type", ["proc", "sysfs"])
def test_a_namespace_in_the_container_gets_no_procfs_without_masks(runtime, bundle, flags, fs_type):
    # The kernel lets it have what this mount namespace shows in full, and the host's would be.
    bundle.all_capabilities("CAP_SETFCAP")
    script = f"unshare -Urmnpf sh -c 'mount -t {fs_type} none /mnt && echo bare || echo refused'"
    result = runtime.run(bundle, script, *flags)

    assert ["refused"] == result.lines
