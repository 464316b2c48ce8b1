"""The sandbox that everybody gets: a config.json without image, user or limits.

Nothing of it comes from an image or a snapshot. What it gives up and keeps: profiles/README.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Json = dict[str, "Value"]
    Value = Json | list["Value"] | str | int | float | bool | None

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PIDS = 4096
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
# What a package manager and a server on a low port need; not: MKNOD, NET_RAW, SETFCAP, SETPCAP,
# SYS_CHROOT, AUDIT_WRITE, which other engines give.
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID",
)  # fmt: skip
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
    "/sys/fs/selinux",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# Where linux.seccomp will be, as text: no other string has a NUL, from argv or from an image.
SECCOMP = "\0"
_STRICT = ("nosuid", "noexec", "nodev")


def config() -> Json:
    """Return the configuration; it has no args yet, and no root mount."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": [],
            "env": [],
            "cwd": "/",
            "capabilities": {
                name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")
            },
            "rlimits": [
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            ],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": _mounts(),
        "annotations": {},
        "linux": {
            "namespaces": [{"type": name} for name in _NAMESPACES],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "seccomp": SECCOMP,
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
        },
    }


def _mounts() -> list[Value]:
    def mount(destination: str, fstype: str, *options: str) -> Json:
        return {
            "destination": destination, "type": fstype, "source": fstype, "options": list(options),
        }  # fmt: skip

    return [
        mount("/proc", "proc", *_STRICT),
        mount("/dev", "tmpfs", "nosuid", "noexec", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666",
              "mode=0620", "gid=5"),
        mount("/dev/shm", "tmpfs", *_STRICT, "mode=1777", "size=65536k"),  # noqa: S108
        mount("/dev/mqueue", "mqueue", *_STRICT),
        mount("/sys", "sysfs", *_STRICT, "ro"),
    ]  # fmt: skip


def section(of: Json, name: str) -> Json:
    """Return an object inside a configuration of ours."""
    found = of[name]
    if not isinstance(found, dict):
        raise TypeError(f"{name} is no object")
    return found


def listing(of: Json, name: str) -> list[Value]:
    """Return an array inside a configuration of ours."""
    found = of[name]
    if not isinstance(found, list):
        raise TypeError(f"{name} is no array")
    return found
