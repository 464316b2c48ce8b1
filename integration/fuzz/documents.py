"""Documents that work, to be spoilt by `strategies`: config.json, process.json, resources.json."""

from __future__ import annotations

import copy
import json
from typing import Any

from integration.bundle import base_config
from integration.fuzz.values import ID, MAPPINGS


def rich_config() -> dict[str, Any]:
    """Return a config.json that works, with something at most places there are."""
    config = base_config()
    process, linux = config["process"], config["linux"]
    process["args"] = ["/bin/sh", "-c", "exit 0"]
    process["user"] = {"uid": 0, "gid": 0, "additionalGids": [5, 1000], "umask": 18}
    process["oomScoreAdj"] = 100
    process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 4}
    process["scheduler"] = {"policy": "SCHED_OTHER", "nice": 1}
    config["domainname"] = "example.org"
    config["annotations"] = {"org.example.key": "value"}
    config["mounts"] += [
        {"destination": "/mnt", "type": "bind", "source": "/bin", "options": ["rbind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
    ]
    config["hooks"] = {
        kind: [{"path": "/bin/true", "args": ["true", kind], "timeout": 5}]
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    }
    linux["cgroupsPath"] = f"/{ID}"
    linux["sysctl"] = {"net.core.somaxconn": "1024"}
    linux["rootfsPropagation"] = "private"
    linux["devices"] = [
        {
            "path": "/dev/mine",
            "type": "c",
            "major": 1,
            "minor": 3,
            "fileMode": 438,
            "uid": 0,
            "gid": 0,
        }
    ]
    linux["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": 1 << 28, "reservation": 1 << 27},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 100},
        "hugepageLimits": [],
        "unified": {},
    }
    linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
             "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]},
        ],
    }  # fmt: skip
    return config


def user_config() -> dict[str, Any]:
    """Return a config.json with a user namespace, which takes other ways."""
    config = rich_config()
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = copy.deepcopy(MAPPINGS[0])
    config["linux"]["gidMappings"] = copy.deepcopy(MAPPINGS[0])
    config["linux"]["devices"] = []
    config["process"]["scheduler"] = None
    return config


def process_document() -> dict[str, Any]:
    return {
        **{key: value for key, value in rich_config()["process"].items() if value is not None},
        "consoleSize": {"height": 24, "width": 80},
        "execCPUAffinity": {"initial": "0", "final": "0"},
        "apparmorProfile": "",
        "selinuxLabel": "",
    }


def resources_document() -> dict[str, Any]:
    return {
        "memory": {
            "limit": 1 << 28, "swap": 1 << 29, "reservation": 1 << 27, "kernel": 1 << 28,
            "checkBeforeUpdate": False,
        },
        "cpu": {
            "shares": 512, "quota": 50000, "period": 100000, "burst": 0, "cpus": "0", "mems": "0",
            "realtimeRuntime": 0, "realtimePeriod": 1000000, "idle": 0,
        },
        "pids": {"limit": 100},
        "blockIO": {
            "weight": 100,
            "throttleReadBpsDevice": [{"major": 1, "minor": 0, "rate": 1 << 20}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
        "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
        "rdma": {"mlx": {"hcaHandles": 1}},
        "unified": {"pids.max": "100"},
        "devices": [{"allow": False, "access": "rwm"}],
    }  # fmt: skip


def text_of(document: Any) -> bytes:
    return json.dumps(document).encode()
