"""Masked paths, read-only paths and sysctl."""

from __future__ import annotations

import os

import pytest

from integration.differences import known_of_runc
from integration.host import text_of


@pytest.mark.parametrize("path", ["/proc/keys", "/proc/timer_list"])
def test_a_default_masked_file_reads_as_empty(runtime, bundle, path):
    result = runtime.run(bundle, f"cat {path}")

    assert (result.code, result.out) == (0, "")


def test_a_masked_file_reads_as_empty(runtime, bundle):
    bundle.file("secret", "text")
    bundle.config["linux"]["maskedPaths"] = ["/secret"]
    result = runtime.run(bundle, "cat /secret")

    assert (result.code, result.out) == (0, "")


def test_a_masked_directory_is_empty_and_read_only(runtime, bundle):
    bundle.file("srv/secret", "text")
    bundle.config["linux"]["maskedPaths"] = ["/srv"]

    assert runtime.run(bundle, "ls /srv").out == ""
    assert runtime.run(bundle, "touch /srv/x").code != 0


def test_what_is_masked_is_untouched_on_the_host(runtime, bundle):
    path = bundle.file("secret", "text")
    bundle.config["linux"]["maskedPaths"] = ["/secret"]
    runtime.run(bundle, "echo x >/secret")

    assert text_of(path) == "text"


def test_a_masked_path_that_is_missing_is_no_failure(runtime, bundle):
    bundle.config["linux"]["maskedPaths"] = ["/no/such/path"]

    assert runtime.run(bundle, "true").code == 0


def test_a_mask_holds_though_dev_null_was_replaced(runtime, bundle):
    # CVE-2025-31133: the container's own /dev/null is not to be trusted.
    os.mkdir(f"{bundle.path}/dev")
    os.symlink("/proc/sys/kernel/core_pattern", f"{bundle.path}/dev/null")
    bundle.config["mounts"] = [
        entry for entry in bundle.config["mounts"] if not entry["destination"].startswith("/dev")
    ]
    bundle.mount("/dev", "bind", f"{bundle.path}/dev", "rbind")
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys"]
    result = runtime.run(bundle, "cat /proc/keys")
    known_of_runc(runtime, "1.1.5 has CVE-2025-31133", seen=result.out != "")

    assert result.out == ""


@pytest.mark.parametrize(
    "path", ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/irq/x"]
)
def test_a_default_read_only_path_refuses_writes(runtime, bundle, path):
    result = runtime.run(bundle, f"echo x >{path}")

    assert result.code != 0


def test_a_read_only_path_refuses_writes(runtime, bundle):
    bundle.config["linux"]["readonlyPaths"] = ["/srv"]
    result = runtime.run(bundle, "touch /srv/x")

    assert result.code != 0
    assert "Read-only file system" in result.err


def test_a_read_only_file_refuses_writes(runtime, bundle):
    bundle.file("srv/file", "text")
    bundle.config["linux"]["readonlyPaths"] = ["/srv/file"]

    assert runtime.run(bundle, "echo x >/srv/file").code != 0
    assert runtime.run(bundle, "cat /srv/file").out == "text"


def test_a_read_only_path_that_is_missing_is_no_failure(runtime, bundle):
    bundle.config["linux"]["readonlyPaths"] = ["/no/such/path"]

    assert runtime.run(bundle, "true").code == 0


def test_the_flags_of_a_read_only_path_are_kept(runtime, bundle):
    line = runtime.run(bundle, "grep ' /proc/sys ' /proc/self/mountinfo").ok().out

    assert "ro" in line.split()[5].split(",")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_local_port_range", "1024\t2000"),
        ("net/ipv4/ip_forward", "1"),
        ("kernel.msgmax", "8193"),
        ("kernel.shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "11"),
    ],
)
def test_a_sysctl_of_a_namespace_is_set(runtime, bundle, key, value):
    bundle.config["linux"]["sysctl"] = {key: value}
    path = "/proc/sys/" + key.replace(".", "/")
    before = text_of(path)

    assert runtime.run(bundle, f"cat {path}").out == f"{value}\n"
    assert text_of(path) == before


@pytest.mark.parametrize("key", ["vm.swappiness", "kernel.core_pattern", "fs.file-max"])
def test_a_sysctl_of_the_whole_host_is_refused(runtime, bundle, key):
    path = "/proc/sys/" + key.replace(".", "/")
    before = text_of(path)
    bundle.config["linux"]["sysctl"] = {key: before.strip()}

    assert runtime.run(bundle, "true").code != 0
    assert text_of(path) == before


@pytest.mark.parametrize(
    ("key", "kind"),
    [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc")],
)
def test_a_sysctl_without_its_namespace_is_refused(runtime, bundle, key, kind):
    bundle.without_namespace(kind)
    path = "/proc/sys/" + key.replace(".", "/")
    bundle.config["linux"]["sysctl"] = {key: text_of(path).strip()}

    assert runtime.run(bundle, "true").code != 0


def test_an_unknown_sysctl_is_a_failure(runtime, bundle):
    bundle.config["linux"]["sysctl"] = {"net.nosuch.key": "1"}

    assert runtime.run(bundle, "true").code != 0
