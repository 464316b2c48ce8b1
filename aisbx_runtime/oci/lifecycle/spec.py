"""spec: a config.json to start from: a shell in a rootfs, with nothing it does not need."""

from __future__ import annotations

import errno
import json  # noqa: TID253  (a verb for people, at leisure)
import os

from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.host import detect
from aisbx_runtime.oci.lifecycle.bundle import CONFIG
from aisbx_runtime.oci.lifecycle.version import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call

    Json = dict[str, object]

_NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = [
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
]  # fmt: skip
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def main(call: Call) -> int:
    """Write config.json into the bundle, never over one that is there."""
    bundle = call.values.text("bundle") or "."
    unified = detect().unified
    if call.values.flag("rootless"):
        config = rootless_config(os.geteuid(), os.getegid(), unified=unified)
    else:
        config = default_config(unified=unified)
    text = json.dumps(config, indent="\t") + "\n"
    path = os.path.join(bundle, CONFIG)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Failure(f"{path} exists already", hint="move it away first") from None
    except OSError as error:
        why = errno.errorcode.get(error.errno or 0, "")
        raise Failure(f"cannot write {path}", why=why) from None
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


def default_config(*, unified: bool) -> Json:
    """Return the configuration for root, on a host with cgroup v2 alone or another."""
    return {
        **_common(_mounts(gid_of_tty=True)),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            **_linux(unified=unified),
        },
    }


def rootless_config(uid: int, gid: int, *, unified: bool) -> Json:
    """Return the configuration for a user without privileges: the own ids become root inside."""
    return {
        # gid 5 is not mapped.
        **_common(_mounts(gid_of_tty=False)),
        "linux": {
            **_linux("user", unified=unified),
            "uidMappings": [{"containerID": 0, "hostID": uid, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": gid, "size": 1}],
        },
    }


def _common(mounts: list[Json]) -> Json:
    return {
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "aisbx",
        "mounts": mounts,
    }


def _linux(*more: str, unified: bool) -> Json:
    # As runc: what runs on v1 looks for its cgroups by the paths of /proc/self/cgroup.
    namespaces = (*_NAMESPACES, *(("cgroup",) if unified else ()), *more)
    return {
        "namespaces": [{"type": name} for name in namespaces],
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
    }


def _mounts(*, gid_of_tty: bool) -> list[Json]:
    strict = ["nosuid", "noexec", "nodev"]
    gid = ["gid=5"] if gid_of_tty else []
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *gid],
        },
        {
            "destination": "/dev/shm",  # noqa: S108
            "type": "tmpfs",
            "source": "shm",
            "options": [*strict, "mode=1777", "size=65536k"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": strict},
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": [*strict, "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": [*strict, "relatime", "ro"],
        },
    ]
