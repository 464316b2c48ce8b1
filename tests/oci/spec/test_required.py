"""Every field that the runtime spec calls required, taken away from a whole config."""

from __future__ import annotations

import json
import os

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import parse

DATA = os.path.join(os.path.dirname(__file__), "data")
HOOKS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
THROTTLES = (
    "throttleReadBpsDevice", "throttleWriteBpsDevice",
    "throttleReadIOPSDevice", "throttleWriteIOPSDevice",
)  # fmt: skip
BLOCK_IO = "linux.resources.blockIO"
RULE = "linux.seccomp.syscalls.0"
REQUIRED = [
    # config.md
    "ociVersion",
    "root",
    "root.path",
    "mounts.0.destination",
    "process.cwd",
    "process.args",
    *[f"process.consoleSize.{side}" for side in ("height", "width")],
    *[f"process.rlimits.0.{key}" for key in ("type", "soft", "hard")],
    "process.scheduler.policy",
    "process.ioPriority.class",
    *[f"hooks.{kind}.0.path" for kind in HOOKS],
    # config-linux.md
    "linux.namespaces.0.type",
    *[
        f"linux.{kind}Mappings.0.{key}"
        for kind in ("uid", "gid")
        for key in ("containerID", "hostID", "size")
    ],
    *[f"linux.devices.0.{key}" for key in ("type", "path", "major", "minor")],
    "linux.resources.devices.0.allow",
    *[f"{BLOCK_IO}.weightDevice.0.{key}" for key in ("major", "minor")],
    *[f"{BLOCK_IO}.{list_}.0.{key}" for list_ in THROTTLES for key in ("major", "minor", "rate")],
    *[f"linux.resources.hugepageLimits.0.{key}" for key in ("pageSize", "limit")],
    *[f"linux.resources.network.priorities.0.{key}" for key in ("name", "priority")],
    "linux.memoryPolicy.mode",
    "linux.seccomp.defaultAction",
    *[f"{RULE}.{key}" for key in ("names", "action")],
    *[f"{RULE}.args.0.{key}" for key in ("index", "value", "op")],
    "linux.personality.domain",
]
# Go cannot tell them from 0, so engines that send a user leave them out, and peers take 0.
ZERO_WHEN_ABSENT = ["process.user.uid", "process.user.gid", "process.ioPriority.priority"]


def everything():
    with open(f"{DATA}/everything.json", encoding="utf-8") as file:
        return json.load(file)


def without(path):
    config = place = everything()
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        place = place[key]
    del place[last]
    return json.dumps(config)


def name_of(path):
    """Return the path as errors write it: mounts[0].destination."""
    words = [f"[{key}]" if key.isdigit() else f".{key}" for key in path.split(".")]
    return "".join(words).lstrip(".")


@pytest.mark.parametrize("path", REQUIRED)
def test_a_required_field_that_is_missing_is_named(path):
    with pytest.raises(SpecError) as caught:
        parse.spec_of(without(path), "config.json")

    assert caught.value.what.startswith(f"{name_of(path)}: ")


@pytest.mark.parametrize("path", ZERO_WHEN_ABSENT)
def test_a_number_that_go_takes_for_zero_is_zero(path):
    config = everything()
    place = config
    *parents, last = path.split(".")
    for key in parents:
        place = place[key]
    place[last] = 0

    assert parse.spec_of(json.dumps(config), "c") == parse.spec_of(without(path), "c")


def test_a_fifo_needs_no_numbers():
    config = everything()
    config["linux"]["devices"] = [{"type": "p", "path": "/f"}]

    assert parse.spec_of(json.dumps(config), "c").linux.devices[0].path == "/f"
