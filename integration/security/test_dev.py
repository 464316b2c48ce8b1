"""A rootfs that brings its own /dev: CVE-2026-41579, -47766, -88264, -88265, CVE-2025-31133.

A flawed runtime makes nodes and links, opens /dev/console or /dev/null, or chowns what it found
there, through the symlinks of the image: on the host.
"""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from integration import host
from integration.differences import known_of_runc
from integration.host import text_of
from integration.mountinfo import MountLine


def without_dev(bundle):
    """Leave /dev to the rootfs: the case of the CVEs of 2026."""
    kept = [one for one in bundle.config["mounts"] if not one["destination"].startswith("/dev")]
    bundle.config["mounts"] = kept
    return bundle


def link_to(canary, style, depth):
    """Return the target of a symlink that leads to the canary from outside of the root."""
    if style == "absolute":
        return canary.directory
    return "../" * (depth + 12) + canary.directory.lstrip("/")


@pytest.mark.parametrize("style", ["absolute", "relative"])
@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "bare"])
def test_dev_as_a_symlink_changes_nothing_outside(runtime, bundle, canary, style, mounted):
    # CVE-2026-41579, CVE-2026-47766
    os.rmdir(f"{bundle.rootfs}/dev")
    os.symlink(link_to(canary, style, 1), f"{bundle.rootfs}/dev")
    if not mounted:
        without_dev(bundle)
    runtime.run(bundle, "true")
    known_of_runc(runtime, "1.1.5 has CVE-2026-41579", seen=canary.changes() != [])

    assert canary.changes() == []


@pytest.mark.parametrize("name", ["pts", "shm", "mqueue"])
@pytest.mark.parametrize("style", ["absolute", "relative"])
def test_a_directory_of_dev_as_a_symlink_changes_nothing_outside(
    runtime, bundle, canary, style, name
):
    wanted = [one for one in bundle.config["mounts"] if one["destination"] == f"/dev/{name}"]
    without_dev(bundle).config["mounts"] += wanted
    os.symlink(link_to(canary, style, 2), f"{bundle.rootfs}/dev/{name}")
    runtime.run(bundle, "true")

    assert canary.changes() == []


@pytest.mark.parametrize("name", ["null", "zero", "tty", "fd", "stdin", "ptmx", "console"])
@pytest.mark.parametrize("style", ["absolute", "relative"])
def test_an_entry_of_dev_as_a_symlink_changes_nothing_outside(
    runtime, bundle, canary, console, style, name
):
    # CVE-2026-88264, -88265: the file behind the link became stdio and was chowned.
    without_dev(bundle).mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")
    target = link_to(canary, style, 2).replace("/directory", "/file")
    os.symlink(target, f"{bundle.rootfs}/dev/{name}")
    bundle.config["process"]["terminal"] = True
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    result = runtime.try_create(bundle, "--console-socket", console.path)
    if result.code == 0:
        runtime("start", bundle.id)

    assert canary.changes() == []


def test_a_file_in_place_of_the_console_keeps_its_owner(runtime, bundle, canary, console):
    # CVE-2026-88264: chown of what lies at /dev/console, here a hard link to a file of the host.
    without_dev(bundle).mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")
    os.link(canary.file, f"{bundle.rootfs}/dev/console")
    bundle.config["process"]["terminal"] = True
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    runtime.try_create(bundle, "--console-socket", console.path)
    found = os.stat(canary.file)
    os.unlink(f"{bundle.rootfs}/dev/console")
    owned = (found.st_uid, found.st_gid) == (1234, 4321)
    intact = owned and text_of(canary.file) == "untouched"
    known_of_runc(runtime, "it takes what lies there for its own", seen=not intact)

    assert (found.st_uid, found.st_gid) == (1234, 4321)
    assert text_of(canary.file) == "untouched"


def planted_null(bundle, kind):
    volume = f"{bundle.path}/dev"
    os.mkdir(volume)
    path = f"{volume}/null"
    if kind == "symlink":
        os.symlink("/proc/sys/kernel/core_pattern", path)
    elif kind == "file":
        with open(path, "w") as out:
            out.write("planted")
    else:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # /dev/zero, endless to read
    return volume


@pytest.mark.parametrize("kind", ["symlink", "file", "zero"])
def test_a_planted_null_device_unmasks_nothing(runtime, bundle, kind):
    # CVE-2025-31133, CVE-2025-62161: the mask is bound from the container's own /dev/null.
    without_dev(bundle).mount("/dev", "bind", planted_null(bundle, kind), "rbind")
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys"]
    bundle.config["linux"]["readonlyPaths"] = []
    script = "head -c 7 /proc/keys; cat /proc/self/mountinfo >/info"
    result = runtime.run(bundle, script)
    info = f"{bundle.rootfs}/info"
    lines = [MountLine(line) for line in text_of(info).splitlines()] if os.path.exists(info) else []
    given = [one.root for one in lines if one.root.startswith("/sys/") and one.fstype == "proc"]
    seen = result.out != "" or given != []
    known_of_runc(runtime, "1.1.5 has CVE-2025-31133", seen=seen)

    assert result.out == ""
    assert given == []


def test_a_device_is_never_opened_through_the_container(runtime, bundle, console, canary):
    # CVE-2025-52565: /dev/pts without a devpts, whose entries are links into /proc.
    without_dev(bundle)
    os.mkdir(f"{bundle.rootfs}/dev/pts")
    for name in ("0", "1", "2"):
        os.symlink("/proc/sys/kernel/core_pattern", f"{bundle.rootfs}/dev/pts/{name}")
    os.mknod(f"{bundle.rootfs}/dev/pts/ptmx", 0o666 | 0o020000, os.makedev(5, 2))
    bundle.config["process"]["terminal"] = True
    bundle.config["linux"]["readonlyPaths"] = []
    result = runtime.try_create(bundle, "--console-socket", console.path)
    given = []
    if result.code == 0:
        with open(f"{bundle.path}/pid") as text:
            pid = text.read()
        lines = [MountLine(line) for line in text_of(f"/proc/{pid}/mountinfo").splitlines()]
        given = [one.target for one in lines if one.root.startswith("/sys/")]
        given = [target for target in given if not target.startswith("/sys/")]
    shutil.rmtree(f"{bundle.rootfs}/dev")
    known_of_runc(runtime, "1.1.5 has CVE-2025-52565", seen=given != [])

    assert given == []


@pytest.mark.parametrize("identity", [False, True], ids=["mask", "bound device"])
def test_the_host_s_null_device_cannot_be_changed(runtime, bundle, identity):
    # Masks, and in a user namespace devices, are inodes of the host: chmod of one reaches it.
    path = "/proc/keys"
    if identity:
        bundle.user_namespace(host_id=0)
        bundle.namespace("cgroup")
        path = "/dev/null"
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys"]
    found = os.stat("/dev/null")
    result = runtime.run(bundle, f"chmod 666 {path}; touch -c {path}; echo text >{path} && echo ok")
    left = os.stat("/dev/null")
    changed = (found.st_mtime_ns, found.st_ctime_ns) != (left.st_mtime_ns, left.st_ctime_ns)
    known_of_runc(runtime, "identity mappings give the host's devices away", seen=changed)

    assert result.out == "ok\n"
    assert not changed


def test_what_is_mounted_on_a_mask_stays_in_the_container(runtime, bundle):
    # A clone of a shared mount is its peer: mount(8) on the mask would cover the host's /dev/null.
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys"]
    bundle.file("cover", "text")
    bundle.all_capabilities("CAP_SYS_ADMIN")
    host.mount("none", "/dev", flags=host.MS_SHARED)
    try:
        result = runtime.run(bundle, "mount -o bind /cover /proc/keys && cat /proc/keys")
        kind = stat.S_IFMT(os.stat("/dev/null").st_mode)
    finally:
        host.mount("none", "/dev", flags=host.MS_PRIVATE)

    assert result.out == "text"
    assert stat.S_IFCHR == kind
