"""Limits: cgroup layout, controllers, delegation, freezer, device rules."""

from __future__ import annotations

from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.bpf.devices import program
from aisbx_runtime.oci.errors import Failure, why_of
from aisbx_runtime.oci.kernel.bpf import load_device_program
from aisbx_runtime.oci.plan.cgroup_places import own_directory
from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK, Check, boot_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Hierarchy

_WANTED = ("cpu", "cpuset", "io", "memory", "pids")
_V1_NAMES = {"io": "blkio"}
_DELEGATE = (
    "mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io"
    " memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf && systemctl"
    " daemon-reload"
)


def checks(hierarchies: tuple[Hierarchy, ...]) -> list[Check]:
    """Return the checks of this topic. `hierarchies` are those of `Host`."""
    return [
        _layout(hierarchies),
        _controllers(hierarchies),
        _delegation(hierarchies),
        _systemd(hierarchies),
        _freezer(hierarchies),
        _devices(hierarchies),
    ]


def _layout(hierarchies: tuple[Hierarchy, ...]) -> Check:
    versions = {one.version for one in hierarchies}
    if versions == {2}:
        return Check("cgroups", "cgroups", OK, "version 2")
    if versions:
        kind = "version 1" if versions == {1} else "hybrid: version 1, and 2 beside it"
        return Check(
            "cgroups", "cgroups", LIMITED, kind,
            "limits are real; a container cannot be born in its cgroup, and users cannot be given"
            " one of their own",
            command=boot_with("systemd.unified_cgroup_hierarchy=1"),
        )  # fmt: skip
    return Check(
        "cgroups", "cgroups", MISSING, "none mounted",
        "there are no limits, no pause, no device rules; config.json may not ask for them",
        command="mount -t cgroup2 none /sys/fs/cgroup",
    )  # fmt: skip


def _available(hierarchies: tuple[Hierarchy, ...]) -> set[str]:
    return {name for one in hierarchies for name in (*one.controllers, *one.available)}


def _controllers(hierarchies: tuple[Hierarchy, ...]) -> Check:
    there = _available(hierarchies)
    lost = [name for name in _WANTED if not there & {name, _V1_NAMES.get(name, name)}]
    if not lost:
        return Check("controllers", "controllers", OK, ", ".join(_WANTED))
    found = [name for name in _WANTED if name not in lost]
    return Check(
        "controllers", "controllers", LIMITED if found else MISSING,
        f"{', '.join(found) or 'none'}; missing: {', '.join(lost)}",
        "limits that need these are refused for root, ignored for a plain user",
        "" if lost == ["memory"] else "boot a kernel that has them",
        boot_with("cgroup_enable=memory") if lost == ["memory"] else "",
    )  # fmt: skip


def _delegation(hierarchies: tuple[Hierarchy, ...]) -> Check:
    own = {
        one.own_path: own_directory(one)
        for one in hierarchies
        if one.controllers != ("name=systemd",)
    }
    if not own:
        return Check(
            "delegation", "delegation", MISSING, "there are no cgroups", "there are no limits",
            "see cgroups",
        )  # fmt: skip
    closed = sorted({path for path in own.values() if not os.access(path, os.W_OK)})
    if not closed:
        return Check("delegation", "delegation", OK, "this caller may make cgroups below its own")
    return Check(
        "delegation", "delegation", LIMITED, f"not writable: {closed[0]}",
        "limits are ignored: the caller may not make cgroups",
        "" if os.geteuid() else "mount the cgroups writable for what this runs in"
        " (podman run --security-opt unmask=/sys/fs/cgroup, docker run --privileged)",
        _DELEGATE if os.geteuid() else "",
    )  # fmt: skip


def _systemd(hierarchies: tuple[Hierarchy, ...]) -> Check:
    from aisbx_runtime.oci.systemd import instance

    try:
        found = instance.detect(hosts.detect())
    except Failure as failure:
        return Check(
            "systemd", "systemd manager", LIMITED if hierarchies else MISSING, failure.line(),
            "engines cannot use the systemd cgroup manager (--systemd-cgroup)",
            failure.hint,
        )  # fmt: skip
    whose = "the user's" if found.user else "the system's"
    return Check("systemd", "systemd manager", OK, f"{whose}, at {found.address}")


def _freezer(hierarchies: tuple[Hierarchy, ...]) -> Check:
    for one in hierarchies:
        if "freezer" in one.controllers:
            return _of_v1(one, "freezer", "freezer", "pause and resume fail")
        # The root cgroup has no such file: each below it has.
        if one.version == 2 and not any("freezer" in each.controllers for each in hierarchies):
            return Check("freezer", "freezer", OK, "version 2")
    return Check(
        "freezer", "freezer", MISSING, "no cgroup version 2, and no freezer of version 1",
        "pause and resume fail", "see cgroups",
    )  # fmt: skip


def _of_v1(one: Hierarchy, name: str, title: str, means: str) -> Check:
    if os.access(own_directory(one), os.W_OK):
        return Check(name, title, OK, "by the controller of version 1")
    return Check(
        name, title, LIMITED, "by version 1, whose cgroups this caller may not change",
        means, "call it as root, or see cgroups",
    )  # fmt: skip


def _devices(hierarchies: tuple[Hierarchy, ...]) -> Check:
    for one in hierarchies:
        if "devices" in one.controllers:
            means = "device rules are ignored; a user namespace keeps it from making device nodes"
            return _of_v1(one, "device-rules", "device rules", means)
    if not any(one.version == 2 for one in hierarchies):
        return Check(
            "device-rules", "device rules", MISSING, "there are no cgroups",
            "linux.resources.devices cannot be enforced", "see cgroups",
        )  # fmt: skip
    try:
        os.close(load_device_program(program(()), "aisbx_doctor"))
    except OSError as error:
        return Check(
            "device-rules", "device rules", LIMITED, why_of(error),
            "device rules are ignored; a user namespace keeps it from making device nodes",
            "call it as root with CAP_BPF and CAP_SYS_ADMIN, or boot a kernel with"
            " CONFIG_CGROUP_BPF",
        )  # fmt: skip
    return Check("device-rules", "device rules", OK, "by eBPF")
