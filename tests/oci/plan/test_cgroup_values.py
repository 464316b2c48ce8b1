"""Values of linux.resources as cgroup v1 and v2 files take them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan import cgroup_v1, cgroup_v2
from aisbx_runtime.oci.spec.model import (
    BlockIo,
    Cpu,
    HugepageLimit,
    InterfacePriority,
    Memory,
    Network,
    Pids,
    RdmaLimit,
    ThrottleDevice,
    WeightDevice,
)


def written(settings: cgroup_v2.Settings) -> list[str]:
    """Return `file=value` of each; those of one group in one string."""
    return [" ".join([f"{one.file}={one.value}" for one in group]) for group in settings]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Memory(), []),
        (Memory(limit=0), []),
        (Memory(limit=100), ["memory.max=100"]),
        (Memory(limit=-1), ["memory.swap.max=max", "memory.max=max"]),
        (Memory(limit=100, swap=100), ["memory.swap.max=0", "memory.max=100"]),
        (Memory(limit=100, swap=250), ["memory.swap.max=150", "memory.max=100"]),
        (Memory(limit=100, swap=-1), ["memory.swap.max=max", "memory.max=100"]),
        (Memory(limit=100, swap=0), ["memory.max=100"]),
        (Memory(swap=-1), ["memory.swap.max=max"]),
        (Memory(reservation=50), ["memory.low=50"]),
        (Memory(kernel=-1, kernel_tcp=0, disable_oom_killer=False, use_hierarchy=True), []),
    ],
)
def test_memory_on_v2(wanted, expected):
    assert expected == written(cgroup_v2.memory(wanted))


@pytest.mark.parametrize(
    "wanted",
    [
        Memory(swap=100),
        Memory(limit=-1, swap=100),
        Memory(limit=100, swap=50),
        Memory(kernel=1),
        Memory(use_hierarchy=False),
    ],
)
@pytest.mark.parametrize("memory", [cgroup_v1.memory, cgroup_v2.memory])
def test_memory_that_contradicts_itself_or_the_kernel_is_refused(memory, wanted):
    with pytest.raises(SpecError):
        memory(wanted)


@pytest.mark.parametrize(
    "wanted", [Memory(swappiness=0), Memory(disable_oom_killer=True), Memory(kernel_tcp=1)]
)
def test_what_v2_does_not_have_is_refused(wanted):
    with pytest.raises(SpecError):
        cgroup_v2.memory(wanted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Memory(), []),
        (Memory(limit=100), ["memory.limit_in_bytes=100"]),
        (
            Memory(limit=100, swap=200),
            ["memory.limit_in_bytes=100 memory.memsw.limit_in_bytes=200"],
        ),
        (Memory(limit=-1), ["memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1"]),
        (Memory(limit=100, swap=0), ["memory.limit_in_bytes=100"]),
        (
            Memory(reservation=50, kernel_tcp=60, swappiness=0, disable_oom_killer=True),
            [
                "memory.soft_limit_in_bytes=50",
                "memory.kmem.tcp.limit_in_bytes=60",
                "memory.swappiness=0",
                "memory.oom_control=1",
            ],
        ),
    ],
)
def test_memory_on_v1(wanted, expected):
    assert expected == written(cgroup_v1.memory(wanted))


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (3, 2), (102, 17), (512, 59), (1024, 100), (2048, 174), (262144, 10000)],
)
def test_shares_become_a_weight(shares, weight):
    assert weight == cgroup_v2.weight_of(shares)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_more_shares_are_never_less_weight(one, other):
    low, high = cgroup_v2.weight_of(min(one, other)), cgroup_v2.weight_of(max(one, other))

    assert 1 <= low <= high <= 10000


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Cpu(), []),
        (Cpu(shares=0, quota=0, period=0), []),
        (Cpu(shares=1024, idle=1), ["cpu.weight=100 cpu.idle=1"]),
        (Cpu(quota=50000), ["cpu.max=50000"]),
        (Cpu(quota=50000, period=20000), ["cpu.max=50000 20000"]),
        (Cpu(quota=-1, period=20000), ["cpu.max=max 20000"]),
        (Cpu(quota=50000, burst=0), ["cpu.max=50000 cpu.max.burst=0"]),
        (Cpu(period=20000), []),
    ],
)
def test_cpu_on_v2(wanted, expected):
    assert expected == written(cgroup_v2.cpu(wanted))


def test_a_period_without_a_quota_is_told_apart():
    periods = [cgroup_v2.lone_period(one) for one in (None, Cpu(period=5), Cpu(quota=1, period=5))]

    assert [0, 5, 0] == periods


def test_v2_has_no_realtime_limit():
    with pytest.raises(SpecError):
        cgroup_v2.cpu(Cpu(realtime_runtime=1000))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Cpu(), []),
        (Cpu(shares=512, idle=0), ["cpu.shares=512 cpu.idle=0"]),
        (
            Cpu(quota=5, period=6, burst=7),
            ["cpu.cfs_period_us=6 cpu.cfs_quota_us=5 cpu.cfs_burst_us=7"],
        ),
        (Cpu(quota=-5), ["cpu.cfs_quota_us=-1"]),
    ],
)
def test_cpu_on_v1(wanted, expected):
    assert expected == written(cgroup_v1.cpu(wanted))


def test_realtime_limits_on_v1():
    settings = cgroup_v1.realtime(Cpu(realtime_runtime=1, realtime_period=2))

    assert ["cpu.rt_period_us=2 cpu.rt_runtime_us=1"] == written(settings)
    assert cgroup_v1.realtime(Cpu()) == ()


def test_cpuset_values_are_written_as_they_are():
    settings = cgroup_v2.cpuset(Cpu(cpus="0-1", mems="0"))

    assert ["cpuset.cpus=0-1", "cpuset.mems=0"] == written(settings)


@pytest.mark.parametrize(
    ("limit", "zero_is_a_limit", "expected"),
    [
        (None, True, []),
        (7, False, ["pids.max=7"]),
        (-1, True, ["pids.max=max"]),
        (0, True, ["pids.max=0"]),
        (0, False, ["pids.max=max"]),
    ],
)
def test_pids(limit, zero_is_a_limit, expected):
    settings = cgroup_v2.pids(Pids(limit), zero_is_a_limit=zero_is_a_limit)

    assert expected == written(settings)


BLOCK_IO = BlockIo(
    weight=100,
    weight_device=(WeightDevice(8, 0, weight=10),),
    throttle_read_bps_device=(ThrottleDevice(8, 0, 1),),
    throttle_write_bps_device=(ThrottleDevice(8, 1, 2),),
    throttle_read_iops_device=(ThrottleDevice(8, 2, 3),),
    throttle_write_iops_device=(ThrottleDevice(8, 3, 0),),
)


def test_io_on_v2():
    settings = cgroup_v2.io(BLOCK_IO)

    assert [
        "io.bfq.weight=100",
        "io.bfq.weight=8:0 10",
        "io.max=8:0 rbps=1",
        "io.max=8:1 wbps=2",
        "io.max=8:2 riops=3",
        "io.max=8:3 wiops=max",
    ] == written(settings)
    assert [("io.weight", "910"), ("io.weight", "8:0 1")] == [one[0].other for one in settings[:2]]


def test_io_on_v2_has_no_leaf_weight():
    for wanted in (BlockIo(leaf_weight=10), BlockIo(weight_device=(WeightDevice(8, 0, None, 10),))):
        with pytest.raises(SpecError):
            cgroup_v2.io(wanted)


def test_blkio_on_v1():
    wanted = BlockIo(
        weight=100,
        leaf_weight=200,
        weight_device=(WeightDevice(8, 0, 10, 20), WeightDevice(8, 1)),
        throttle_read_bps_device=BLOCK_IO.throttle_read_bps_device,
        throttle_write_iops_device=BLOCK_IO.throttle_write_iops_device,
    )

    assert [
        "blkio.weight=100",
        "blkio.leaf_weight=200",
        "blkio.weight_device=8:0 10",
        "blkio.leaf_weight_device=8:0 20",
        "blkio.throttle.read_bps_device=8:0 1",
        "blkio.throttle.write_iops_device=8:3 0",
    ] == written(cgroup_v1.blkio(wanted))
    assert cgroup_v1.blkio(BlockIo()) == ()


def test_huge_pages_are_limited_in_use_and_in_reservation():
    limits = (HugepageLimit("2MB", 4),)

    assert ["hugetlb.2MB.max=4", "hugetlb.2MB.rsvd.max=4"] == written(cgroup_v2.hugetlb(limits))
    assert [
        "hugetlb.2MB.limit_in_bytes=4",
        "hugetlb.2MB.rsvd.limit_in_bytes=4",
    ] == written(cgroup_v1.hugetlb(limits))


def test_rdma():
    limits = (RdmaLimit("mlx5_1", 3, 10000), RdmaLimit("mlx4_0", hca_objects=1))

    assert [
        "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
        "rdma.max=mlx4_0 hca_object=1",
    ] == written(cgroup_v2.rdma(limits))


def test_network_on_v1():
    wanted = Network(class_id=1048577, priorities=(InterfacePriority("eth0", 500),))

    assert ["net_cls.classid=1048577"] == written(cgroup_v1.net_cls(wanted))
    assert ["net_prio.ifpriomap=eth0 500"] == written(cgroup_v1.net_prio(wanted))
    assert cgroup_v1.net_cls(Network()) == ()


def test_unified_files_are_written_as_they_are_given():
    values = {"memory.high": "100", "io.max": "8:0 rbps=1\n8:1 rbps=2"}

    assert ["memory.high=100", "io.max=8:0 rbps=1\n8:1 rbps=2"] == written(
        cgroup_v2.unified(values)
    )


@pytest.mark.parametrize("file", ["../memory.max", "memory", "a/b.c"])
def test_a_unified_key_that_is_no_cgroup_file_is_refused(file):
    with pytest.raises(SpecError):
        cgroup_v2.unified({file: "1"})
