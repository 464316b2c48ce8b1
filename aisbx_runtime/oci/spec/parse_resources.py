"""Read `linux.resources`, and the same object alone as the file of `update --resources`."""

from __future__ import annotations

from aisbx_runtime.oci.spec.model import (
    BlockIo,
    Cpu,
    DeviceRule,
    HugepageLimit,
    InterfacePriority,
    Memory,
    Network,
    Pids,
    RdmaLimit,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from aisbx_runtime.oci.spec.node import INT64, UINT16, UINT32, UINT64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.node import Node

_LIMIT = (-1, INT64[1])  # -1: unlimited
# cgroup-v1 devices.txt: a major or minor of -1 in the files of engines stands for "*".
_DEVICE_NUMBER = (-1, UINT32[1])


def resources_of(node: Node) -> Resources:
    """Return the limits that the object `node` asks for."""
    return Resources(
        devices=tuple(map(_device_rule_of, node.children("devices"))),
        memory=_memory_of(node.child("memory")),
        cpu=_cpu_of(node.child("cpu")),
        pids=_pids_of(node.child("pids")),
        block_io=_block_io_of(node.child("blockIO")),
        hugepage_limits=tuple(map(_hugepage_limit_of, node.children("hugepageLimits"))),
        network=_network_of(node.child("network")),
        rdma=tuple(
            RdmaLimit(
                device=name,
                hca_handles=limit.optional_integer("hcaHandles", UINT32),
                hca_objects=limit.optional_integer("hcaObjects", UINT32),
            )
            for name, limit in node.entries("rdma")
        ),
        unified=node.text_map("unified"),
    )


def _device_rule_of(node: Node) -> DeviceRule:
    allow = node.optional_flag("allow")
    if allow is None:
        raise node.error("allow", "required")
    return DeviceRule(
        allow=allow,
        type=node.text("type") or "a",  # config-linux.md: the default is all types
        major=_device_number_of(node, "major"),
        minor=_device_number_of(node, "minor"),
        access=node.text("access"),
    )


def _device_number_of(node: Node, key: str) -> int | None:
    number = node.optional_integer(key, _DEVICE_NUMBER)
    return None if number == -1 else number


def _memory_of(node: Node | None) -> Memory | None:
    if node is None:
        return None
    return Memory(
        limit=node.optional_integer("limit", _LIMIT),
        reservation=node.optional_integer("reservation", _LIMIT),
        swap=node.optional_integer("swap", _LIMIT),
        kernel=node.optional_integer("kernel", _LIMIT),
        kernel_tcp=node.optional_integer("kernelTCP", _LIMIT),
        # config-linux.md: "swappiness, from 0 to 100"; the file of cgroup v1 takes no more.
        swappiness=node.optional_integer("swappiness", (0, 100)),
        disable_oom_killer=node.optional_flag("disableOOMKiller"),
        use_hierarchy=node.optional_flag("useHierarchy"),
        check_before_update=node.optional_flag("checkBeforeUpdate"),
    )


def _cpu_of(node: Node | None) -> Cpu | None:
    if node is None:
        return None
    return Cpu(
        shares=node.optional_integer("shares", UINT64),
        quota=node.optional_integer("quota", _LIMIT),
        period=node.optional_integer("period", UINT64),
        burst=node.optional_integer("burst", UINT64),
        realtime_runtime=node.optional_integer("realtimeRuntime", _LIMIT),
        realtime_period=node.optional_integer("realtimePeriod", UINT64),
        cpus=node.text("cpus"),
        mems=node.text("mems"),
        idle=node.optional_integer("idle", INT64),
    )


def _pids_of(node: Node | None) -> Pids | None:
    return None if node is None else Pids(node.optional_integer("limit", _LIMIT))


def _block_io_of(node: Node | None) -> BlockIo | None:
    if node is None:
        return None
    return BlockIo(
        weight=node.optional_integer("weight", UINT16),
        leaf_weight=node.optional_integer("leafWeight", UINT16),
        weight_device=tuple(map(_weight_device_of, node.children("weightDevice"))),
        throttle_read_bps_device=_throttles_of(node, "throttleReadBpsDevice"),
        throttle_write_bps_device=_throttles_of(node, "throttleWriteBpsDevice"),
        throttle_read_iops_device=_throttles_of(node, "throttleReadIOPSDevice"),
        throttle_write_iops_device=_throttles_of(node, "throttleWriteIOPSDevice"),
    )


def _weight_device_of(node: Node) -> WeightDevice:
    return WeightDevice(
        major=node.required_integer("major", UINT32),
        minor=node.required_integer("minor", UINT32),
        weight=node.optional_integer("weight", UINT16),
        leaf_weight=node.optional_integer("leafWeight", UINT16),
    )


def _throttles_of(node: Node, key: str) -> tuple[ThrottleDevice, ...]:
    return tuple(
        ThrottleDevice(
            major=device.required_integer("major", UINT32),
            minor=device.required_integer("minor", UINT32),
            rate=device.required_integer("rate", UINT64),
        )
        for device in node.children(key)
    )


def _hugepage_limit_of(node: Node) -> HugepageLimit:
    return HugepageLimit(
        page_size=node.required_text("pageSize"), limit=node.required_integer("limit", UINT64)
    )


def _network_of(node: Node | None) -> Network | None:
    if node is None:
        return None
    priorities = tuple(
        InterfacePriority(
            name=entry.required_text("name"), priority=entry.required_integer("priority", UINT32)
        )
        for entry in node.children("priorities")
    )
    return Network(class_id=node.optional_integer("classID", UINT32), priorities=priorities)
