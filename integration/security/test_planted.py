"""Symlinks planted at every path that a runtime makes or opens in a rootfs.

CVE-2025-24965, CVE-2026-41163, CVE-2026-87766, CVE-2024-45310: a flawed runtime follows them to
the host, where it makes, opens, truncates or chowns a file as root.
"""

from __future__ import annotations

import os
import shutil

import pytest

# What our runtime, its peers and engines write in a rootfs.
PATHS = [
    "dev", "dev/pts", "dev/shm", "dev/mqueue", "dev/console", "dev/null", "dev/ptmx", "dev/fd",
    "dev/stdout", "dev/tty", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab",
    ".dockerenv", "run/.containerenv", "run/secrets", ".krun_config.json", ".pivot_root",
    ".old_root", "oldroot", "put_old", "tmp", "var/tmp", "work", "work/deep", "target",
    "target/deep", "copied", "sys/fs/cgroup", "marker", "exec.fifo", "config.json", "state.json",
]  # fmt: skip


def plant(rootfs, path, target):
    full = f"{rootfs}/{path}"
    os.makedirs(os.path.dirname(full), exist_ok=True)
    if os.path.isdir(full) and not os.path.islink(full):
        shutil.rmtree(full)
    elif os.path.lexists(full):
        os.unlink(full)
    os.symlink(target, full)


def full(bundle, canary):
    """Ask for all that makes the runtime write in the rootfs."""
    bundle.config["process"]["cwd"] = "/work/deep/er"
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.config["linux"]["devices"] = [
        {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229},
        {"type": "p", "path": "/work/fifo"},
    ]
    bundle.config["linux"]["maskedPaths"] = ["/etc/hosts", "/tmp", "/target"]
    bundle.config["linux"]["readonlyPaths"] = ["/etc/hostname", "/var/tmp"]
    bundle.mount("/etc/resolv.conf", "bind", "/etc/passwd", "bind", "ro")
    bundle.mount("/run/secrets", "tmpfs", "tmpfs", "mode=700")
    bundle.mount("/target/deep/file", "bind", "/etc/passwd", "bind")
    bundle.mount("/copied", "tmpfs", "tmpfs", "tmpcopyup")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_planted_symlink_changes_nothing_outside(runtime, bundle, canary, kind, path):
    full(bundle, canary)
    if path.startswith("dev/"):
        keep = "/dev/pts", "/dev/shm", "/dev/mqueue"
        bundle.config["mounts"] = [
            one
            for one in bundle.config["mounts"]
            if not one["destination"].startswith("/dev") or one["destination"] in keep
        ]
    outside = getattr(canary, kind)
    climbing = "../" * (path.count("/") + 12) + outside.lstrip("/")
    plant(bundle.rootfs, path, outside if kind == "file" else climbing)
    runtime.run(bundle, "true")

    assert canary.changes() == []


@pytest.mark.parametrize("target", ["missing", "missing/deep"])
def test_a_symlink_to_nothing_makes_nothing_outside(runtime, bundle, canary, target):
    # A dangling link is where O_CREAT without O_EXCL makes a file.
    full(bundle, canary)
    for path in ("etc/resolv.conf", "run/secrets", "target", "work"):
        plant(bundle.rootfs, path, f"{canary.path}/{target}")
    runtime.run(bundle, "true")

    assert canary.changes() == []


def test_an_id_with_dots_touches_nothing(runtime, bundle, canary, state_root):
    bundle.save()
    up = os.path.relpath(canary.directory, state_root)
    for container_id in (up, f"x/{up}", f"{bundle.id}/../{up}", "..", "../..", canary.directory):
        assert runtime("create", "--bundle", bundle.path, container_id).code != 0
        for verb in (["delete", "--force"], ["kill"], ["state"], ["start"]):
            runtime(*verb, container_id)

    assert canary.changes() == []
