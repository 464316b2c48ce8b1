"""From text to records: what is read, and what is left out."""

from __future__ import annotations

import json

import pytest

from aisbx_runtime.oci.spec import parse
from aisbx_runtime.oci.spec.model import (
    BlockIo,
    Capabilities,
    Cpu,
    CpuAffinity,
    Device,
    DeviceRule,
    Hook,
    Hooks,
    HugepageLimit,
    IdMapping,
    IntelRdt,
    InterfacePriority,
    IoPriority,
    Linux,
    Memory,
    MemoryPolicy,
    Mount,
    Namespace,
    NetDevice,
    Network,
    Personality,
    Pids,
    Process,
    RdmaLimit,
    Resources,
    Rlimit,
    Root,
    Scheduler,
    Seccomp,
    Spec,
    SyscallArg,
    SyscallRule,
    ThrottleDevice,
    TimeOffset,
    User,
    WeightDevice,
)
from tests.strategies import base_config, config_with


def spec_of(config):
    return parse.spec_of(json.dumps(config), "config.json")


# ---- what is read --------------------------------------------------------------------------------
def test_the_smallest_config_has_defaults_for_all_else():
    assert parse.spec_of('{"ociVersion": "1.0.0", "root": {"path": "rootfs"}}', "c") == Spec(
        oci_version="1.0.0", root=Root("rootfs"), linux=Linux(), hooks=Hooks()
    )


def test_the_top_of_a_config_is_read():
    config = base_config()
    config["root"] = {"path": "/r", "readonly": True}
    config["hostname"] = "h"
    config["domainname"] = "d"
    config["annotations"] = {"a": "", "b": "y"}
    mapping = {"containerID": 0, "hostID": 1, "size": 2}
    config["mounts"] = [
        {"destination": "relative"},
        {
            "destination": "/m",
            "type": "bind",
            "source": "/s",
            "options": ["rbind", ""],
            "uidMappings": [mapping],
            "gidMappings": [mapping],
        },
    ]
    config["hooks"] = {
        "prestart": [{"path": "/1", "args": ["a"], "env": ["E=1"], "timeout": 3}],
        "createRuntime": [{"path": "/2"}],
        "createContainer": [{"path": "/3"}],
        "startContainer": [{"path": "/4"}],
        "poststart": [{"path": "/5"}],
        "poststop": [{"path": "/6"}],
    }
    spec = spec_of(config)

    assert spec.root == Root("/r", readonly=True)
    assert (spec.hostname, spec.domainname) == ("h", "d")
    assert spec.annotations == {"a": "", "b": "y"}
    ids = (IdMapping(0, 1, 2),)
    assert spec.mounts == (
        Mount("/relative"),
        Mount("/m", "bind", "/s", ("rbind", ""), ids, ids),
    )
    assert spec.hooks == Hooks(
        prestart=(Hook("/1", ("a",), ("E=1",), 3),),
        create_runtime=(Hook("/2"),),
        create_container=(Hook("/3"),),
        start_container=(Hook("/4"),),
        poststart=(Hook("/5"),),
        poststop=(Hook("/6"),),
    )


def test_a_process_is_read():
    text = json.dumps(
        {
            "args": ["a", "b"],
            "cwd": "/w",
            "env": ["A=", "B=\u00e9"],
            "terminal": True,
            "consoleSize": {"height": 25, "width": 80},
            "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4]},
            "capabilities": {
                "bounding": ["CAP_A"],
                "effective": ["CAP_B"],
                "permitted": ["CAP_C"],
                "inheritable": ["CAP_D"],
                "ambient": ["CAP_E"],
            },
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1}],
            "noNewPrivileges": True,
            "apparmorProfile": "p",
            "selinuxLabel": "l",
            "oomScoreAdj": -1000,
            "scheduler": {
                "policy": "SCHED_DEADLINE",
                "nice": 1,
                "flags": ["SCHED_FLAG_RECLAIM"],
                "runtime": 1,
                "deadline": 2,
                "period": 3,
            },
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7},
            "execCPUAffinity": {"initial": "0", "final": "1-2"},
        }
    )

    assert parse.process_of(text, "process.json") == Process(
        args=("a", "b"),
        cwd="/w",
        env=("A=", "B=\u00e9"),
        terminal=True,
        console_size=(25, 80),
        user=User(1, 2, 18, (3, 4)),
        capabilities=Capabilities(("CAP_A",), ("CAP_B",), ("CAP_C",), ("CAP_D",), ("CAP_E",)),
        rlimits=(Rlimit("RLIMIT_CORE", 0, 2**64 - 1),),
        no_new_privileges=True,
        apparmor_profile="p",
        selinux_label="l",
        oom_score_adj=-1000,
        scheduler=Scheduler("SCHED_DEADLINE", 1, 0, ("SCHED_FLAG_RECLAIM",), 1, 2, 3),
        io_priority=IoPriority("IOPRIO_CLASS_BE", 7),
        exec_cpu_affinity=CpuAffinity("0", "1-2"),
    )


def test_a_process_needs_args_and_cwd_alone():
    assert parse.process_of('{"args": ["a"], "cwd": "/"}', "p") == Process(("a",), "/")


def test_a_console_of_no_size_has_no_size():
    text = '{"args": ["a"], "cwd": "/", "consoleSize": {"height": 0, "width": 0}}'

    assert parse.process_of(text, "p").console_size is None


def test_the_linux_part_is_read():
    config = base_config()
    config["linux"] = {
        "namespaces": [{"type": "pid"}, {"type": "user", "path": "/ns"}]
        + [{"type": type_, "path": ""} for type_ in ("network", "mount", "time", "uts")],
        "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 2, "size": 1}],
        "devices": [
            {"type": "c", "path": "/d", "major": 1, "minor": 3, "fileMode": 8576, "uid": 4},
            {"type": "p", "path": "/f", "gid": 5},
        ],
        "cgroupsPath": "/c",
        "rootfsPropagation": "rslave",
        "maskedPaths": ["/m"],
        "readonlyPaths": ["/r"],
        "mountLabel": "l",
        "sysctl": {"net.a": "1"},
        "personality": {"domain": "LINUX32", "flags": ["f"]},
        "timeOffsets": {"monotonic": {"secs": -1}, "boottime": {"nanosecs": 5}},
        "netDevices": {"eth0": {"name": "e"}, "eth1": {}},
        "intelRdt": {
            "closID": "c",
            "schemata": ["s"],
            "l3CacheSchema": "L3:",
            "memBwSchema": "MB:",
            "enableCMT": True,
            "enableMBM": True,
            "enableMonitoring": True,
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
    }

    assert spec_of(config).linux == Linux(
        namespaces=(
            Namespace("pid"),
            Namespace("user", "/ns"),
            Namespace("network"),
            Namespace("mount"),
            Namespace("time"),
            Namespace("uts"),
        ),
        uid_mappings=(IdMapping(0, 1, 1),),
        gid_mappings=(IdMapping(0, 2, 1),),
        devices=(Device("c", "/d", 1, 3, 8576, 4, None), Device("p", "/f", 0, 0, None, None, 5)),
        cgroups_path="/c",
        resources=None,
        rootfs_propagation="rslave",
        masked_paths=("/m",),
        readonly_paths=("/r",),
        mount_label="l",
        sysctl={"net.a": "1"},
        personality=Personality("LINUX32", ("f",)),
        time_offsets={"monotonic": TimeOffset(-1, 0), "boottime": TimeOffset(0, 5)},
        net_devices=(NetDevice("eth0", "e"), NetDevice("eth1", "eth1")),
        intel_rdt=IntelRdt("c", ("s",), "L3:", "MB:", True, True, True),
        memory_policy=MemoryPolicy("MPOL_BIND", "0", ("MPOL_F_STATIC_NODES",)),
    )


def test_a_filter_is_read():
    config = config_with(
        "linux.seccomp",
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": [],
            "listenerPath": "/l",
            "listenerMetadata": "m",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["a", "b"],
                    "action": "SCMP_ACT_TRACE",
                    "errnoRet": 1,
                    "args": [
                        {"index": 0, "value": 2**64 - 1, "op": "SCMP_CMP_EQ"},
                        {"index": 5, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"},
                    ],
                },
            ],
        },
    )

    assert spec_of(config).linux.seccomp == Seccomp(
        default_action="SCMP_ACT_ERRNO",
        default_errno_ret=38,
        architectures=("SCMP_ARCH_X86_64",),
        flags=(),
        listener_path="/l",
        listener_metadata="m",
        syscalls=(
            SyscallRule(("read",), "SCMP_ACT_ALLOW"),
            SyscallRule(
                ("a", "b"),
                "SCMP_ACT_TRACE",
                1,
                (
                    SyscallArg(0, 2**64 - 1, 0, "SCMP_CMP_EQ"),
                    SyscallArg(5, 1, 2, "SCMP_CMP_MASKED_EQ"),
                ),
            ),
        ),
    )


def test_a_filter_without_flags_is_not_one_with_none():
    spec = spec_of(config_with("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}))

    assert spec.linux.seccomp == Seccomp("SCMP_ACT_ALLOW", flags=None)


def test_limits_are_read():
    device = {"major": 8, "minor": 0}
    text = json.dumps(
        {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "rw"},
            ],
            "memory": {
                "limit": 1,
                "reservation": 2,
                "swap": 3,
                "kernel": -1,
                "kernelTCP": 5,
                "swappiness": 0,
                "disableOOMKiller": False,
                "useHierarchy": True,
                "checkBeforeUpdate": True,
            },
            "cpu": {
                "shares": 1,
                "quota": -1,
                "period": 2,
                "burst": 3,
                "realtimeRuntime": 4,
                "realtimePeriod": 5,
                "cpus": "0",
                "mems": "1",
                "idle": 1,
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10,
                "leafWeight": 1000,
                "weightDevice": [{**device, "weight": 10, "leafWeight": 0}],
                "throttleReadBpsDevice": [{**device, "rate": 1}],
                "throttleWriteBpsDevice": [{**device, "rate": 2}],
                "throttleReadIOPSDevice": [{**device, "rate": 3}],
                "throttleWriteIOPSDevice": [{**device, "rate": 4}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
            "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 2}]},
            "rdma": {"m": {"hcaHandles": 1}, "n": {"hcaObjects": 2}},
            "unified": {"memory.high": "1"},
        }
    )

    assert parse.resources_of(text, "-") == Resources(
        devices=(
            DeviceRule(allow=False, type="a", major=None, minor=None, access="rwm"),
            DeviceRule(allow=True, type="c", major=1, minor=None, access="rw"),
        ),
        memory=Memory(1, 2, 3, -1, 5, 0, False, True, True),
        cpu=Cpu(1, -1, 2, 3, 4, 5, "0", "1", 1),
        pids=Pids(0),
        block_io=BlockIo(
            weight=10,
            leaf_weight=1000,
            weight_device=(WeightDevice(8, 0, 10, 0),),
            throttle_read_bps_device=(ThrottleDevice(8, 0, 1),),
            throttle_write_bps_device=(ThrottleDevice(8, 0, 2),),
            throttle_read_iops_device=(ThrottleDevice(8, 0, 3),),
            throttle_write_iops_device=(ThrottleDevice(8, 0, 4),),
        ),
        hugepage_limits=(HugepageLimit("2MB", 9),),
        network=Network(1, (InterfacePriority("lo", 2),)),
        rdma=(RdmaLimit("m", 1, None), RdmaLimit("n", None, 2)),
        unified={"memory.high": "1"},
    )


@pytest.mark.parametrize("text", ["{}", '{"pids": {}}'])
def test_limits_may_all_be_absent(text):
    pids = Pids() if "pids" in text else None

    assert parse.resources_of(text, "-") == Resources(pids=pids)


@pytest.mark.parametrize(
    "path",
    [
        *("process", "hostname", "mounts", "hooks", "annotations", "linux", "solaris", "surprise"),
        *("process.terminal", "process.user", "process.env", "process.rlimits"),
        *("process.oomScoreAdj", "process.user.additionalGids", "process.user.umask"),
        *("root.readonly", "linux.seccomp", "linux.timeOffsets"),
        *("linux.resources", "linux.resources.memory", "linux.resources.devices"),
    ],
)
def test_null_counts_as_absent(path):
    with_null = config_with(path, None)
    without = config_with(path, None)
    place = without
    *parents, last = path.split(".")
    for key in parents:
        place = place[key]
    del place[last]

    assert spec_of(with_null) == spec_of(without)


def test_the_last_of_two_equal_names_counts():
    text = '{"ociVersion": 1, "ociVersion": "1.0.0", "root": {"path": "a"}, "root": {"path": "b"}}'

    assert parse.spec_of(text, "c").root == Root("b")


def test_unknown_fields_are_not_read():
    config = config_with("linux.surprise", [{"a": "huge"}])
    text = json.dumps(config).replace('"huge"', "1e999")

    assert parse.spec_of(text, "c") == spec_of(base_config())
