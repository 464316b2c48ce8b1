"""Devices: the default ones, linux.devices, and what the cgroup allows."""

from __future__ import annotations

import os

import pytest

from integration import needs

DEFAULTS = {
    "null": "1:3",
    "zero": "1:5",
    "full": "1:7",
    "random": "1:8",
    "urandom": "1:9",
    "tty": "5:0",
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_device_is_there(runtime, bundle, name):
    result = runtime.run(bundle, f"stat -c '%F %a %t:%T' /dev/{name}").ok()

    assert result.out == f"character special file 666 {DEFAULTS[name]}\n"


def test_a_default_device_works(runtime, bundle):
    script = "cd /dev; echo x >null && head -c 2 zero | wc -c; head -c 1 urandom | wc -c"

    assert runtime.run(bundle, script).ok().out == "2\n1\n"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ],
)
def test_a_default_link_is_there(runtime, bundle, name, target):
    assert runtime.run(bundle, f"readlink /dev/{name}").out == f"{target}\n"


def device(bundle, **changes):
    entry = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, **changes}
    bundle.config["linux"].setdefault("devices", []).append(entry)


@needs.devices
def test_a_device_is_made(runtime, bundle):
    device(bundle, fileMode=0o640, uid=1000, gid=5)
    result = runtime.run(bundle, "stat -c '%F %a %u:%g %t:%T' /dev/mine").ok()

    assert result.out == "character special file 640 1000:5 1:3\n"


@needs.devices
def test_a_block_device_is_made(runtime, bundle):
    device(bundle, type="b", major=7, minor=0, fileMode=0o600)

    assert runtime.run(bundle, "test -b /dev/mine").code == 0


def test_a_fifo_is_made(runtime, bundle):
    bundle.config["linux"]["devices"] = [{"path": "/dev/mine", "type": "p", "fileMode": 0o600}]

    assert runtime.run(bundle, "test -p /dev/mine").code == 0


@needs.devices
def test_a_device_in_a_deep_directory_is_made(runtime, bundle):
    device(bundle, path="/dev/a/b/mine")

    assert runtime.run(bundle, "test -c /dev/a/b/mine").code == 0


@needs.devices
@pytest.mark.parametrize("mode", [0o20666, 24960])
def test_the_type_bits_of_a_mode_are_masked(runtime, bundle, mode):
    # podman sends S_IFCHR with the mode.
    device(bundle, fileMode=mode)

    assert runtime.run(bundle, "stat -c %a /dev/mine").out == f"{mode & 0o7777:o}\n"


@needs.devices
def test_the_mode_does_not_depend_on_the_umask_of_the_caller(runtime, bundle):
    device(bundle, fileMode=0o666)
    old = os.umask(0o077)
    try:
        result = runtime.run(bundle, "stat -c %a /dev/mine /dev/null")
    finally:
        os.umask(old)

    assert result.lines == ["666", "666"]


@needs.device_filter
def test_a_device_that_is_not_allowed_cannot_be_opened(runtime, bundle):
    bundle.all_capabilities("CAP_MKNOD")
    # 10:229 is /dev/fuse; mknod of every device is among the rules a container always has.
    result = runtime.run(bundle, "mknod /tmp/d c 10 229 && cat /tmp/d")

    assert result.code != 0
    assert "Operation not permitted" in result.err


@needs.device_filter
def test_a_device_that_is_allowed_can_be_opened(runtime, bundle):
    rules = bundle.config["linux"]["resources"]["devices"]
    rules.append({"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"})
    bundle.all_capabilities("CAP_MKNOD")

    # 1:11 is /dev/kmsg: opened for writing, nothing is written.
    assert runtime.run(bundle, "mknod /tmp/d c 1 11 && : >/tmp/d").code == 0


@needs.device_filter
def test_access_is_refused_by_kind(runtime, bundle):
    rules = bundle.config["linux"]["resources"]["devices"]
    rules.append({"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"})
    bundle.all_capabilities("CAP_MKNOD")

    assert runtime.run(bundle, "mknod /tmp/d c 1 11 && : >/tmp/d").code != 0


@needs.device_filter
def test_a_later_rule_wins(runtime, bundle):
    rules = bundle.config["linux"]["resources"]["devices"]
    rules.append({"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"})
    rules.append({"allow": False, "type": "c", "major": 1, "minor": 11, "access": "rwm"})
    bundle.all_capabilities("CAP_MKNOD")
    result = runtime.run(bundle, "echo x >/dev/null && mknod /tmp/d c 1 11 && echo y && : >/tmp/d")

    assert (result.code != 0, result.out) == (True, "y\n")


@needs.device_filter
def test_a_hole_in_a_wildcard_is_enforced_or_refused(runtime, bundle):
    # The devices controller of cgroup v1 cannot express it.
    rules = bundle.config["linux"]["resources"]["devices"]
    rules.append({"allow": True, "type": "c", "major": 1, "access": "rwm"})
    rules.append({"allow": False, "type": "c", "major": 1, "minor": 11, "access": "rwm"})
    bundle.all_capabilities("CAP_MKNOD")

    assert runtime.run(bundle, "mknod /tmp/d c 1 11 && : >/tmp/d").code != 0


@needs.device_filter
def test_a_wildcard_of_one_type_allows_that_type(runtime, bundle):
    rules = bundle.config["linux"]["resources"]["devices"]
    rules.append({"allow": True, "type": "c", "access": "rwm"})
    bundle.all_capabilities("CAP_MKNOD")

    assert runtime.run(bundle, "mknod /tmp/d c 1 11 && : >/tmp/d").code == 0


@needs.device_filter
def test_everything_is_allowed_without_rules_that_deny(runtime, bundle):
    bundle.config["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    bundle.all_capabilities("CAP_MKNOD")

    assert runtime.run(bundle, "mknod /tmp/d c 1 11 && : >/tmp/d").code == 0


@needs.device_filter
def test_a_rule_given_twice_is_taken(runtime, bundle):
    bundle.config["linux"]["resources"]["devices"] *= 2

    assert runtime.run(bundle, "echo x >/dev/null").code == 0


@needs.device_filter
def test_the_rules_hold_for_exec(runtime, bundle):
    bundle.all_capabilities("CAP_MKNOD")
    container = runtime.started(bundle)

    assert container.exec("/bin/sh", "-c", "mknod /tmp/d c 1 11 && : >/tmp/d").code != 0
