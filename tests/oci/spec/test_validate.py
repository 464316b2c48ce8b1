"""The rules between the fields: each is broken once, and told."""

from __future__ import annotations

import json

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import (
    parse,
    validate,
    validate_linux,
    validate_process,
    validate_resources,
)
from aisbx_runtime.oci.spec.node import Document
from tests.strategies import base_config

MAPPING = [{"containerID": 0, "hostID": 1000, "size": 1}]
RULE = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


def changed(change):
    config = base_config()
    change(config)
    return config


def spec_of(config):
    return parse.spec_of(json.dumps(config), "config.json")


def top(key, value):
    return lambda config: config.update({key: value})


def process(key, value):
    return lambda config: config["process"].update({key: value})


def linux(key, value):
    return lambda config: config["linux"].update({key: value})


def resources(key, value):
    return linux("resources", {key: value})


def seccomp(**fields):
    return linux("seccomp", {"defaultAction": "SCMP_ACT_ERRNO", **fields})


def namespaces(*types):
    return linux("namespaces", [{"type": type_} for type_ in types])


def both(*changes):
    return lambda config: [change(config) for change in changes]


def rlimit(type_="RLIMIT_CORE", soft=1, hard=1):
    return {"type": type_, "soft": soft, "hard": hard}


def device_rule(**fields):
    return resources("devices", [{"allow": True, "access": "r", **fields}])


def weight_device(**fields):
    return resources("blockIO", {"weightDevice": [{"major": 8, "minor": 0, **fields}]})


BROKEN = [
    # the top
    (top("ociVersion", "1"), "ociVersion: expected a semantic version"),
    (top("ociVersion", "2.0.0"), "ociVersion: expected version 1 of the runtime spec"),
    (
        top("hooks", {"poststop": [{"path": "/a"}, {"path": "b"}]}),
        "hooks.poststop[1].path: must be an absolute path",
    ),
    # process
    (process("args", []), "process.args: required, and may not be empty"),
    (process("cwd", ""), "process.cwd: required, and may not be empty"),
    (process("cwd", "tmp"), "process.cwd: must be an absolute path"),
    (process("env", ["A=1", "B"]), "process.env[1]: expected NAME=value"),
    (process("env", ["=1"]), "process.env[0]: expected NAME=value"),
    (process("rlimits", [rlimit("RLIMIT_X")]), "process.rlimits[0].type: unknown resource"),
    (process("rlimits", [rlimit(soft=2)]), "process.rlimits[0]: soft 2 is above hard 1"),
    (
        process("rlimits", [rlimit(), rlimit(hard=2)]),
        "process.rlimits[1]: RLIMIT_CORE is there twice",
    ),
    (process("rlimits", [rlimit()] * 2), "process.rlimits[1]: RLIMIT_CORE is there twice"),
    (
        process("scheduler", {"policy": "SCHED_OTHER", "nice": 20}),
        "process.scheduler.nice: expected a number from -20 to 19",
    ),
    (
        process("scheduler", {"policy": "SCHED_OTHER", "priority": 1}),
        "process.scheduler.priority: only SCHED_FIFO and SCHED_RR have one",
    ),
    (
        process("scheduler", {"policy": "SCHED_FIFO", "period": 1}),
        "process.scheduler: runtime, deadline and period belong to SCHED_DEADLINE",
    ),
    (
        process("execCPUAffinity", {"initial": "0", "final": "x"}),
        "process.execCPUAffinity.final: expected a list of CPUs",
    ),
    # namespaces and what needs them
    (namespaces("pid", "mount", "pid"), "linux.namespaces[2]: pid is there twice"),
    (
        linux("namespaces", [{"type": "pid", "path": "ns"}]),
        "linux.namespaces[0].path: must be an absolute path",
    ),
    (both(top("hostname", "h"), namespaces("pid")), "hostname: needs a uts namespace"),
    (both(top("domainname", "d"), namespaces("pid")), "domainname: needs a uts namespace"),
    (top("hostname", "é" * 33), "hostname: is longer than 64 bytes"),
    (linux("uidMappings", MAPPING), "linux.uidMappings: needs a user namespace"),
    (linux("gidMappings", MAPPING), "linux.gidMappings: needs a user namespace"),
    (
        namespaces("user"),
        "linux.namespaces: a new user namespace needs linux.uidMappings and linux.gidMappings",
    ),
    (
        both(namespaces("user"), linux("uidMappings", [{**MAPPING[0], "size": 0}])),
        "linux.uidMappings[0].size: must be greater than 0",
    ),
    (
        both(namespaces("user"), linux("gidMappings", [{**MAPPING[0], "size": 2**32 - 1}])),
        "linux.gidMappings[0]: reaches beyond the last id",
    ),
    (
        top("mounts", [{"destination": "/a", "uidMappings": MAPPING}]),
        "mounts[0]: needs both uidMappings and gidMappings, or none",
    ),
    (
        top("mounts", [{"destination": "/a", "options": ["ridmap"]}]),
        "mounts[0].options: idmap needs uidMappings and gidMappings, or a user namespace",
    ),
    (
        both(namespaces("pid"), linux("maskedPaths", ["/a"])),
        "linux.maskedPaths: needs a mount namespace",
    ),
    (
        both(namespaces("pid"), linux("readonlyPaths", ["/a"])),
        "linux.readonlyPaths: needs a mount namespace",
    ),
    (
        linux("readonlyPaths", ["/a", "b"]),
        "linux.readonlyPaths[1]: must be an absolute path",
    ),
    (
        linux("devices", [{"type": "p", "path": "d"}]),
        "linux.devices[0].path: must be an absolute path",
    ),
    (
        linux("timeOffsets", {"monotonic": {}}),
        "linux.timeOffsets: needs a new time namespace",
    ),
    (
        both(
            linux("namespaces", [{"type": "time", "path": "/ns"}]),
            linux("timeOffsets", {"monotonic": {}}),
        ),
        "linux.timeOffsets: needs a new time namespace",
    ),
    (
        both(namespaces("time"), linux("timeOffsets", {"realtime": {}})),
        "linux.timeOffsets.realtime: expected monotonic or boottime",
    ),
    (
        linux("sysctl", {"kernel.hostname": "x"}),
        'linux.sysctl["kernel.hostname"]: cannot be set as a sysctl',
    ),
    (
        both(
            lambda config: config.update(domainname="a"),
            linux("sysctl", {"kernel.domainname": "b"}),
        ),
        'linux.sysctl["kernel.domainname"]: conflicts with the field domainname',
    ),
    (
        linux("sysctl", {"kernel.core_pattern": "x"}),
        'linux.sysctl["kernel.core_pattern"]: belongs to no namespace: it would change the host',
    ),
    (
        linux("sysctl", {"net/../kernel": "x"}),
        'linux.sysctl["net/../kernel"]: belongs to no namespace: it would change the host',
    ),
    (
        both(namespaces("pid"), linux("sysctl", {"net.a": "x"})),
        'linux.sysctl["net.a"]: needs a network namespace',
    ),
    (
        both(namespaces("pid"), linux("netDevices", {"eth0": {}})),
        "linux.netDevices.eth0: needs a network namespace",
    ),
    (
        linux("netDevices", {"eth0": {"name": "a" * 16}}),
        "linux.netDevices.eth0: is not a name that a network device can have",
    ),
    (
        linux("netDevices", {"eth0": {"name": ".."}}),
        "linux.netDevices.eth0: is not a name that a network device can have",
    ),
    (
        linux("netDevices", {"eth0": {"name": "a b"}}),
        "linux.netDevices.eth0: is not a name that a network device can have",
    ),
    (
        linux("intelRdt", {"memBwSchema": "MB:\n"}),
        "linux.intelRdt.memBwSchema: expected one line that starts with MB:",
    ),
    (
        linux("intelRdt", {"memBwSchema": "L3:"}),
        "linux.intelRdt.memBwSchema: expected one line that starts with MB:",
    ),
    (
        linux("intelRdt", {"closID": "a/b"}),
        "linux.intelRdt.closID: expected the name of a directory",
    ),
    # seccomp
    (
        linux("seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
        "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW returns no errno",
    ),
    (
        seccomp(syscalls=[{**RULE, "errnoRet": 1}]),
        "linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_ALLOW returns no errno",
    ),
    (seccomp(listenerMetadata="m"), "linux.seccomp.listenerMetadata: needs listenerPath"),
    (
        seccomp(syscalls=[{**RULE, "action": "SCMP_ACT_NOTIFY"}]),
        "linux.seccomp: SCMP_ACT_NOTIFY needs listenerPath",
    ),
    # resources
    (device_rule(type="u"), "linux.resources.devices[0].type: expected a, b or c"),
    (
        device_rule(access=""),
        "linux.resources.devices[0].access: expected some of the letters r, w and m",
    ),
    (
        device_rule(access="rx"),
        "linux.resources.devices[0].access: expected some of the letters r, w and m",
    ),
    (
        resources("memory", {"limit": 2, "swap": 1}),
        "linux.resources.memory.swap: 1 is below memory.limit 2, which it includes",
    ),
    (resources("cpu", {"quota": 1, "burst": 2}), "linux.resources.cpu.burst: is above quota 1"),
    (resources("cpu", {"idle": 2}), "linux.resources.cpu.idle: expected 0 or 1"),
    (
        resources("blockIO", {"weight": 9}),
        "linux.resources.blockIO.weight: expected a number from 10 to 1000",
    ),
    (
        resources("blockIO", {"leafWeight": 1001}),
        "linux.resources.blockIO.leafWeight: expected a number from 10 to 1000",
    ),
    (
        weight_device(leafWeight=1),
        "linux.resources.blockIO.weightDevice[0].leafWeight: expected a number from 10 to 1000",
    ),
    (
        weight_device(),
        "linux.resources.blockIO.weightDevice[0]: needs weight or leafWeight",
    ),
    *[
        (
            resources("hugepageLimits", [{"pageSize": size, "limit": 1}]),
            "linux.resources.hugepageLimits[0].pageSize: expected a page size",
        )
        for size in ("2", "MB", "02MB", "0MB", "2mb", "2TB", "²MB", "2MB\n")
    ],
    (resources("rdma", {"m": {}}), "linux.resources.rdma.m: needs hcaHandles or hcaObjects"),
    *[
        (
            resources("unified", {name: "1"}),
            f'linux.resources.unified["{name}"]: expected a file name',
        )
        for name in ("a/b.c", "..", ".max", "memory.")
    ],
    (resources("unified", {"memory": "1"}), "linux.resources.unified.memory: expected a file name"),
]


@pytest.mark.parametrize(("change", "what"), BROKEN)
def test_a_broken_rule_is_told(change, what):
    with pytest.raises(SpecError) as error:
        spec_of(changed(change))

    assert what == error.value.what


KEPT = [
    top("ociVersion", "1.99.0-rc.1+build"),
    top("ociVersion", "0.1.0"),
    top("ociVersion", "1.0.2-dev"),
    top("process", None),
    top("hostname", "h" * 64),
    process("scheduler", {"policy": "SCHED_RR", "priority": 99, "nice": -20}),
    process("scheduler", {"policy": "SCHED_DEADLINE", "runtime": 1}),
    process("capabilities", {"bounding": ["CAP_UNKNOWN"]}),
    both(namespaces("user"), linux("uidMappings", MAPPING), linux("gidMappings", MAPPING)),
    linux("namespaces", [{"type": "user", "path": "/ns"}]),
    both(
        namespaces("user"),
        linux("uidMappings", MAPPING),
        top("mounts", [{"destination": "/a", "options": ["idmap"]}]),
    ),
    top(
        "mounts",
        [
            {
                "destination": "/a",
                "options": ["idmap"],
                "uidMappings": MAPPING,
                "gidMappings": MAPPING,
            }
        ],
    ),
    both(namespaces("time"), linux("timeOffsets", {"boottime": {"secs": 1}})),
    both(top("domainname", "d"), linux("sysctl", {"kernel.domainname": "d"})),
    linux("sysctl", {"net.a": "1", "kernel.sem": "1", "kernel.domainname": "d"}),
    linux("netDevices", {"eth0": {"name": "wlan%d"}}),
    linux("intelRdt", {"closID": "gold", "memBwSchema": "MB:0=1"}),
    linux("intelRdt", {"closID": ""}),
    linux("intelRdt", {"closID": "/"}),
    seccomp(defaultErrnoRet=1, syscalls=[{**RULE, "action": "SCMP_ACT_TRACE", "errnoRet": 1}]),
    seccomp(listenerPath="/l", syscalls=[{**RULE, "action": "SCMP_ACT_NOTIFY"}]),
    resources("memory", {"limit": 2, "swap": 2}),
    resources("memory", {"limit": 2, "swap": -1}),
    resources("memory", {"swap": 1}),
    resources("cpu", {"quota": -1, "burst": 5}),
    resources("cpu", {"quota": 0, "burst": 5}),
    resources("cpu", {"quota": 5, "burst": 5, "idle": 1}),
    resources("blockIO", {"weight": 0, "leafWeight": 10}),
    weight_device(weight=1000),
    resources("pids", {"limit": -1}),
]


@pytest.mark.parametrize("change", KEPT)
def test_what_breaks_no_rule_is_accepted(change):
    assert spec_of(changed(change))


def test_all_broken_rules_can_be_had_at_once():
    config = changed(both(top("hostname", "h" * 65), process("cwd", "x"), namespaces("uts")))
    config["linux"]["uidMappings"] = MAPPING
    spec, document = parse.read_spec(json.dumps(config), "config.json")

    assert ["hostname", "linux.uidMappings", "process.cwd"] == [
        error.what.partition(":")[0] for error in validate.broken(spec, document)
    ]


def test_a_spec_without_a_text_has_errors_without_lines():
    spec, _ = parse.read_spec(json.dumps(changed(process("cwd", "x"))), "config.json")
    with pytest.raises(SpecError) as error:
        validate.check_spec(spec, Document("", "profile strict"))

    assert error.value.where == "profile strict"


@pytest.mark.parametrize("module", [validate, validate_linux, validate_process, validate_resources])
def test_every_check_of_a_module_is_run(module):
    named = {
        function
        for name, function in vars(module).items()
        if callable(function)
        and getattr(function, "__module__", "") == module.__name__
        and not name.startswith(("_", "check_", "broken"))
    }

    assert named <= set(module.CHECKS)
