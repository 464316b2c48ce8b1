"""A /proc or /sys that is not what it seems: CVE-2019-16884, CVE-2019-19921, CVE-2023-27561,
CVE-2023-28642, CVE-2025-54867, CVE-2025-52881, CVE-2025-62596.

A flawed runtime writes labels, sysctls and masks into a directory of the image's choice: what
should confine the container is not there, or the write lands in another file of procfs.
"""

from __future__ import annotations

import os

import pytest

from integration.host import text_of
from integration.runtime import call

KEY = "net.core.somaxconn"
FILE = "/proc/sys/net/core/somaxconn"


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/srv", "srv", "../../../srv", "/nosuch", "/proc"])
def test_a_symlink_is_refused_by_its_name(runtime, bundle, name, target):
    os.rmdir(f"{bundle.rootfs}/{name}")
    os.symlink(target, f"{bundle.rootfs}/{name}")
    result = runtime.run(bundle, "true")

    assert result.code != 0
    assert f"/{name}" in result.message


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_file_is_refused_by_its_name(runtime, bundle, name):
    os.rmdir(f"{bundle.rootfs}/{name}")
    bundle.file(name, "")
    result = runtime.run(bundle, "true")

    assert result.code != 0
    assert f"/{name}" in result.message


@pytest.mark.parametrize(
    "target", ["/proc", "/proc/self/attr", "/proc/sys/net", "/proc/1", "/proc/self"]
)
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_a_volume_in_proc_is_refused(runtime, bundle, canary, kind, target):
    # VOLUME /proc of an image: the labels are written into the volume.
    source = canary.directory if kind == "bind" else "tmpfs"
    options = ["rbind"] if kind == "bind" else ["size=4k"]
    bundle.mount(target, kind, source, *options)
    result = runtime.run(bundle, "true")

    assert result.code != 0
    assert canary.changes() == []


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
@pytest.mark.parametrize("target", ["/proc", "/proc/sys/net", "/proc/self/attr"])
def test_a_volume_that_gets_into_proc_by_a_symlink_catches_no_write(
    runtime, bundle, canary, kind, target
):
    # CVE-2025-52881: the image's own link leads the mount to where the runtime will write.
    os.symlink(target, f"{bundle.rootfs}/data")
    source = canary.directory if kind == "bind" else "tmpfs"
    bundle.mount("/data", kind, source, *(["rbind"] if kind == "bind" else []))
    bundle.config["linux"]["sysctl"] = {KEY: "1234"}
    bundle.config["linux"]["readonlyPaths"] = []
    bundle.script("exec sleep 1000")
    result = runtime.try_create(bundle)
    if result.code == 0:
        with open(f"{bundle.path}/pid") as text:
            argv = ["nsenter", f"--net=/proc/{text.read()}/ns/net", "cat", FILE]

        assert call(argv).out == "1234\n"
    assert canary.changes() == []


@pytest.mark.parametrize(
    "decoy", ["/proc/self/sched", "/proc/self/comm", "/proc/self/timerslack_ns"]
)
def test_a_sysctl_reaches_its_own_file_or_none(runtime, bundle, decoy):
    # CVE-2025-52881: a file of procfs bound over another one passes every check of the type.
    bundle.mount(FILE, "bind", decoy, "bind")
    bundle.config["linux"]["sysctl"] = {KEY: "1234"}
    bundle.config["linux"]["readonlyPaths"] = []
    before = text_of(FILE)
    bundle.script("exec sleep 1000")
    result = runtime.try_create(bundle)
    if result.code == 0:
        with open(f"{bundle.path}/pid") as text:
            argv = ["nsenter", f"--net=/proc/{text.read()}/ns/net", "cat", FILE]

        assert call(argv).out == "1234\n"
    assert text_of(FILE) == before


def test_a_mask_covers_the_real_file_behind_a_link_of_the_image(runtime, bundle):
    # The path of the mask leads through a symlink: what is covered is what a process would open.
    os.symlink("/proc", f"{bundle.rootfs}/link")
    bundle.config["linux"]["maskedPaths"] = ["/link/keys"]

    assert runtime.run(bundle, "cat /proc/keys; cat /link/keys").out == ""
