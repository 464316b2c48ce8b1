"""Machines to plan for, as values: plans do not depend on the one that runs the tests."""

from __future__ import annotations

from aisbx_runtime.oci.host import Hierarchy, Host

_V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
_V1 = (
    "cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb",
    "net_cls,net_prio", "rdma", "name=systemd",
)  # fmt: skip


def host(**changes: object) -> Host:
    """Return root's machine with cgroup v2 alone, as Debian 12 boots, with some fields changed."""
    unified = Hierarchy(2, (), "/sys/fs/cgroup", "/", "/system.slice/engine.service", _V2)
    fields: dict[str, object] = {
        "kernel": (6, 1),
        "machine": "x86_64",
        "euid": 0,
        "egid": 0,
        "user_namespace": False,
        "may_setgroups": True,
        "last_capability": 40,
        "hierarchies": (unified,),
        "unified": True,
    }
    return Host(**{**fields, **changes})


UNIFIED = host()
HYBRID = host(
    unified=False,
    hierarchies=(
        *[
            Hierarchy(1, tuple(names.split(",")), f"/sys/fs/cgroup/{names}", "/", "/engine")
            for names in _V1
        ],
        Hierarchy(2, (), "/sys/fs/cgroup/unified", "/", "/engine", ()),
    ),
)
# A user in the initial user namespace, and in podman's, where it is root.
USER = host(
    euid=1000,
    egid=1000,
    hierarchies=(
        Hierarchy(
            2, (), "/sys/fs/cgroup", "/", "/user.slice/user-1000.slice/x.scope", ("memory", "pids")
        ),
    ),
)
ROOTLESS = host(user_namespace=True, hierarchies=USER.hierarchies)
NO_CGROUPS = host(hierarchies=(), unified=False)
ALL = {
    "unified": UNIFIED,
    "hybrid": HYBRID,
    "user": USER,
    "rootless": ROOTLESS,
    "no-cgroups": NO_CGROUPS,
}
