"""Every number of config.json: its range, and whether it must be there."""

from __future__ import annotations

import copy
import json
import os

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import parse

with open(
    os.path.join(os.path.dirname(__file__), "data", "everything.json"), encoding="utf-8"
) as file:
    CONFIG = json.load(file)
INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)
LIMIT = (-1, 2**63 - 1)
UINT16 = (0, 2**16 - 1)
UINT32 = (0, 2**32 - 1)
UINT64 = (0, 2**64 - 1)
# (path without indexes, range); "!" marks those that must be there.
RANGES = {
    **{
        f"hooks.{which}.timeout": (1, 2**63 - 1)
        for which in (
            *("prestart", "createRuntime", "createContainer"),
            *("startContainer", "poststart", "poststop"),
        )
    },
    **{
        f"{owner}.{which}.{key}!": UINT32
        for owner in ("mounts", "linux")
        for which in ("uidMappings", "gidMappings")
        for key in ("containerID", "hostID", "size")
    },
    "process.consoleSize.height!": UINT16,
    "process.consoleSize.width!": UINT16,
    "process.user.uid": UINT32,
    "process.user.gid": UINT32,
    "process.user.umask": UINT32,
    "process.user.additionalGids": UINT32,
    "process.oomScoreAdj": (-1000, 1000),
    "process.rlimits.soft!": UINT64,
    "process.rlimits.hard!": UINT64,
    "process.scheduler.nice": INT32,
    "process.scheduler.priority": INT32,
    "process.scheduler.runtime": UINT64,
    "process.scheduler.deadline": UINT64,
    "process.scheduler.period": UINT64,
    "process.ioPriority.priority": (0, 7),
    "linux.devices.major!": UINT32,
    "linux.devices.minor!": UINT32,
    "linux.devices.fileMode": (0, 0o177777),
    "linux.devices.uid": UINT32,
    "linux.devices.gid": UINT32,
    "linux.timeOffsets.monotonic.secs": INT64,
    "linux.timeOffsets.monotonic.nanosecs": (0, 999_999_999),
    "linux.timeOffsets.boottime.secs": INT64,
    "linux.timeOffsets.boottime.nanosecs": (0, 999_999_999),
    "linux.seccomp.defaultErrnoRet": UINT16,
    "linux.seccomp.syscalls.errnoRet": UINT16,
    "linux.seccomp.syscalls.args.index!": (0, 5),
    "linux.seccomp.syscalls.args.value!": UINT64,
    "linux.seccomp.syscalls.args.valueTwo": UINT64,
    "linux.resources.devices.major": (-1, 2**32 - 1),
    "linux.resources.devices.minor": (-1, 2**32 - 1),
    "linux.resources.memory.limit": LIMIT,
    "linux.resources.memory.reservation": LIMIT,
    "linux.resources.memory.swap": LIMIT,
    "linux.resources.memory.kernel": LIMIT,
    "linux.resources.memory.kernelTCP": LIMIT,
    "linux.resources.memory.swappiness": (0, 100),
    "linux.resources.cpu.shares": UINT64,
    "linux.resources.cpu.quota": LIMIT,
    "linux.resources.cpu.period": UINT64,
    "linux.resources.cpu.burst": UINT64,
    "linux.resources.cpu.realtimeRuntime": LIMIT,
    "linux.resources.cpu.realtimePeriod": UINT64,
    "linux.resources.cpu.idle": INT64,
    "linux.resources.pids.limit": LIMIT,
    "linux.resources.blockIO.weight": UINT16,
    "linux.resources.blockIO.leafWeight": UINT16,
    "linux.resources.blockIO.weightDevice.major!": UINT32,
    "linux.resources.blockIO.weightDevice.minor!": UINT32,
    "linux.resources.blockIO.weightDevice.weight": UINT16,
    "linux.resources.blockIO.weightDevice.leafWeight": UINT16,
    **{
        f"linux.resources.blockIO.throttle{which}Device.{key}!": range_
        for which in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")
        for key, range_ in (("major", UINT32), ("minor", UINT32), ("rate", UINT64))
    },
    "linux.resources.hugepageLimits.limit!": UINT64,
    "linux.resources.network.classID": UINT32,
    "linux.resources.network.priorities.priority!": UINT32,
    "linux.resources.rdma.m.hcaHandles": UINT32,
    "linux.resources.rdma.m.hcaObjects": UINT32,
}


def numbers(value=CONFIG, path=()):
    """Yield the path of every number in the example."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(item, (*path, key))
    elif type(value) is int:
        yield path


def name_of(path):
    return ".".join(key for key in path if isinstance(key, str))


def with_number(path, number):
    config = copy.deepcopy(CONFIG)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = number
    return config


def read(config):
    # Without the rules between the fields: those have their own tests.
    return parse.read_spec(json.dumps(config), "c")


PATHS = {name_of(path): path for path in numbers()}
PLACES = [(PATHS[name.rstrip("!")], *range_) for name, range_ in RANGES.items()]


def test_the_table_names_every_number_of_the_example():
    assert sorted(PATHS) == sorted(name.rstrip("!") for name in RANGES)


@pytest.mark.parametrize(("path", "low", "high"), PLACES)
def test_a_number_is_taken_within_its_range_only(path, low, high):
    for number in (low, high):
        assert read(with_number(path, number))
    for number in (low - 1, high + 1):
        with pytest.raises(SpecError) as error:
            read(with_number(path, number))

        assert f"expected a number from {low} to {high}" in error.value.what


@pytest.mark.parametrize("name", [name for name in RANGES if not name.endswith("Gids")])
def test_a_number_may_be_absent_unless_it_is_required(name):
    config = with_number(PATHS[name.rstrip("!")], None)
    if name.endswith("!"):
        with pytest.raises(SpecError) as error:
            read(config)

        assert error.value.what.endswith(": required")
    else:
        assert read(config)
