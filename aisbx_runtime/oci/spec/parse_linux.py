"""Read `linux`, except its resources and its seccomp filter."""

from __future__ import annotations

from aisbx_runtime.oci.spec.model import (
    Device,
    IdMapping,
    IntelRdt,
    Linux,
    MemoryPolicy,
    Namespace,
    NetDevice,
    Personality,
    TimeOffset,
)
from aisbx_runtime.oci.spec.node import INT64, UINT32
from aisbx_runtime.oci.spec.parse_resources import resources_of
from aisbx_runtime.oci.spec.parse_seccomp import seccomp_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.node import Node

NAMESPACE_TYPES = frozenset(("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"))
# config-linux.md names four; podman and docker send the recursive ones, and so runc takes them.
PROPAGATIONS = frozenset(
    recursive + name
    for recursive in ("", "r")
    for name in ("private", "shared", "slave", "unbindable")
)
MEMORY_POLICY_MODES = frozenset(
    "MPOL_" + name
    for name in [
        "DEFAULT",
        "BIND",
        "INTERLEAVE",
        "WEIGHTED_INTERLEAVE",
        "PREFERRED",
        "PREFERRED_MANY",
        "LOCAL",
    ]
)
MEMORY_POLICY_FLAGS = frozenset(
    "MPOL_F_" + name for name in ("NUMA_BALANCING", "RELATIVE_NODES", "STATIC_NODES")
)


def linux_of(node: Node | None) -> Linux:
    """Return the Linux part that the object `node` describes."""
    if node is None:
        return Linux()
    resources = node.child("resources")
    return Linux(
        namespaces=tuple(
            Namespace(entry.choice("type", NAMESPACE_TYPES), entry.text("path") or None)
            for entry in node.children("namespaces")
        ),
        uid_mappings=mappings_of(node, "uidMappings"),
        gid_mappings=mappings_of(node, "gidMappings"),
        devices=tuple(map(_device_of, node.children("devices"))),
        cgroups_path=node.text("cgroupsPath") or None,
        resources=None if resources is None else resources_of(resources),
        rootfs_propagation=_propagation_of(node),
        masked_paths=node.texts("maskedPaths"),
        readonly_paths=node.texts("readonlyPaths"),
        mount_label=node.text("mountLabel"),
        seccomp=seccomp_of(node.child("seccomp")),
        sysctl=node.text_map("sysctl"),
        personality=_personality_of(node.child("personality")),
        time_offsets={
            name: TimeOffset(
                secs=offset.integer("secs", INT64),
                nanosecs=offset.integer("nanosecs", (0, 999_999_999)),
            )
            for name, offset in node.entries("timeOffsets")
        },
        net_devices=tuple(
            NetDevice(name=name, new_name=device.text("name") or name)
            for name, device in node.entries("netDevices")
        ),
        intel_rdt=_intel_rdt_of(node.child("intelRdt")),
        memory_policy=_memory_policy_of(node.child("memoryPolicy")),
    )


def mappings_of(node: Node, key: str) -> tuple[IdMapping, ...]:
    """Return the id mappings of the array at `key`."""
    return tuple(
        IdMapping(
            container_id=entry.required_integer("containerID", UINT32),
            host_id=entry.required_integer("hostID", UINT32),
            size=entry.required_integer("size", UINT32),
        )
        for entry in node.children(key)
    )


def _device_of(node: Node) -> Device:
    type_ = node.choice("type", ("c", "b", "u", "p"))
    # config-linux.md: major and minor are required unless the device is a FIFO.
    number_of = node.integer if type_ == "p" else node.required_integer
    return Device(
        type=type_,
        path=node.required_text("path"),
        major=number_of("major", UINT32),
        minor=number_of("minor", UINT32),
        # Up to 0o177777: podman's modes carry the file type.
        file_mode=node.optional_integer("fileMode", (0, 0o177777)),
        uid=node.optional_integer("uid", UINT32),
        gid=node.optional_integer("gid", UINT32),
    )


def _propagation_of(node: Node) -> str:
    return node.choice("rootfsPropagation", PROPAGATIONS) if node.text("rootfsPropagation") else ""


def _personality_of(node: Node | None) -> Personality | None:
    if node is None:
        return None
    return Personality(
        domain=node.choice("domain", ("LINUX", "LINUX32")), flags=node.texts("flags")
    )


def _intel_rdt_of(node: Node | None) -> IntelRdt | None:
    if node is None:
        return None
    return IntelRdt(
        clos_id=node.text("closID"),
        schemata=node.texts("schemata"),
        l3_cache_schema=node.text("l3CacheSchema"),
        mem_bw_schema=node.text("memBwSchema"),
        enable_cmt=node.flag("enableCMT"),
        enable_mbm=node.flag("enableMBM"),
        enable_monitoring=node.flag("enableMonitoring"),
    )


def _memory_policy_of(node: Node | None) -> MemoryPolicy | None:
    if node is None:
        return None
    return MemoryPolicy(
        mode=node.choice("mode", MEMORY_POLICY_MODES),
        nodes=node.text("nodes"),
        flags=node.choices("flags", MEMORY_POLICY_FLAGS),
    )
