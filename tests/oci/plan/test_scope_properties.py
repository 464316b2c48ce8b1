"""Limits and annotations as properties of a unit; the figures are those that runc 1.3 sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan.scope_properties import INFINITY, of_annotations, of_resources
from aisbx_runtime.oci.spec.model import BlockIo, Cpu, Memory, Pids, Resources
from aisbx_runtime.oci.systemd import wire

PREFIX = "org.systemd.property."


def properties(wanted=None, *, zero_is_a_limit=True, **fields):
    found = of_resources(wanted or Resources(**fields), zero_is_a_limit=zero_is_a_limit)
    for _, signature, value in found:
        wire.put_all(bytearray(), signature, (value,))
    return {name: value for name, _, value in found}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Memory(), {}),
        (Memory(limit=0), {}),
        (Memory(limit=100), {"MemoryMax": 100}),
        (Memory(limit=-1), {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY}),
        (Memory(limit=100, swap=250), {"MemoryMax": 100, "MemorySwapMax": 150}),
        (Memory(limit=100, swap=100), {"MemoryMax": 100, "MemorySwapMax": 0}),
        (Memory(limit=100, swap=-1), {"MemoryMax": 100, "MemorySwapMax": INFINITY}),
        (Memory(reservation=50), {"MemoryLow": 50}),
    ],
)
def test_memory(wanted, expected):
    assert expected == properties(memory=wanted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Cpu(), {}),
        (Cpu(shares=512), {"CPUWeight": 59}),
        (Cpu(shares=1024, idle=1), {"CPUWeight": 0}),
        (Cpu(idle=0), {}),
        (Cpu(quota=50000, period=100000), {
            "CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 500000,
        }),
        # systemd keeps whole percentages: rounded up.
        (Cpu(quota=50050, period=100000), {
            "CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 510000,
        }),
        (Cpu(quota=1000), {"CPUQuotaPerSecUSec": 10000}),
        (Cpu(quota=-1), {"CPUQuotaPerSecUSec": INFINITY}),
        (Cpu(quota=-1, period=2000), {
            "CPUQuotaPeriodUSec": 2000, "CPUQuotaPerSecUSec": INFINITY,
        }),
        (Cpu(period=2000), {"CPUQuotaPeriodUSec": 2000, "CPUQuotaPerSecUSec": INFINITY}),
        (Cpu(burst=5), {}),
        (Cpu(cpus="0-1,3"), {"AllowedCPUs": b"\x0b"}),
        (Cpu(cpus="9", mems="0"), {"AllowedCPUs": b"\x00\x02", "AllowedMemoryNodes": b"\x01"}),
    ],
)  # fmt: skip
def test_cpu(wanted, expected):
    assert expected == properties(cpu=wanted)


@pytest.mark.parametrize(
    ("limit", "zero_is_a_limit", "expected"),
    [
        (5, True, 5), (-1, True, INFINITY), (-9, True, INFINITY), (0, True, 1),
        (0, False, INFINITY),
    ],
)  # fmt: skip
def test_tasks(limit, zero_is_a_limit, expected):
    found = properties(pids=Pids(limit), zero_is_a_limit=zero_is_a_limit)

    assert {"TasksMax": expected} == found


@pytest.mark.parametrize(("weight", "expected"), [(10, 1), (500, 4950), (1000, 10000)])
def test_io_weight(weight, expected):
    assert {"IOWeight": expected} == properties(block_io=BlockIo(weight=weight))


def test_no_resources_are_no_properties():
    assert () == of_resources(None, zero_is_a_limit=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"memory.high": "1048576"}, {"MemoryHigh": 1048576}),
        ({"memory.high": " 1M\n"}, {"MemoryHigh": 1048576}),
        ({"memory.min": "0", "memory.low": "5"}, {"MemoryMin": 0, "MemoryLow": 5}),
        ({"memory.max": "max", "memory.swap.max": "0"}, {
            "MemoryMax": INFINITY, "MemorySwapMax": 0,
        }),
        ({"memory.zswap.max": "5"}, {"MemoryZSwapMax": 5}),
        ({"pids.max": "99"}, {"TasksMax": 99}),
        ({"cpu.weight": "42"}, {"CPUWeight": 42}),
        ({"cpu.idle": "1"}, {"CPUWeight": 0}),
        ({"cpu.idle": "0"}, {}),
        ({"cpu.max": "10000 20000"}, {
            "CPUQuotaPeriodUSec": 20000, "CPUQuotaPerSecUSec": 500000,
        }),
        ({"cpu.max": "10000"}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 100000}),
        ({"cpu.max": "max 20000"}, {
            "CPUQuotaPeriodUSec": 20000, "CPUQuotaPerSecUSec": INFINITY,
        }),
        ({"cpuset.cpus": "0,2", "cpuset.mems": "0"}, {
            "AllowedCPUs": b"\x05", "AllowedMemoryNodes": b"\x01",
        }),
        # Files without a property, and values that only the kernel can refuse.
        ({"memory.oom.group": "1", "io.max": "8:0 rbps=5", "hugetlb.2MB.max": "0"}, {}),
        ({"memory.high": "lots", "cpu.max": "", "pids.max": "-1", "cpuset.cpus": "x"}, {}),
        ({"memory.max": "99999999999999999999"}, {}),
    ],
)  # fmt: skip
def test_unified(values, expected):
    assert expected == properties(unified=values)


def test_unified_has_the_last_word_as_its_files_have():
    wanted = Resources(memory=Memory(limit=5), unified={"memory.max": "7"})

    assert {"MemoryMax": 7} == properties(wanted)


@given(st.integers(1, 1 << 40), st.integers(1000, 1_000_000))
def test_the_quota_of_systemd_is_a_whole_percentage_and_never_less(quota, period):
    per_second = properties(cpu=Cpu(quota=quota, period=period))["CPUQuotaPerSecUSec"]

    assert per_second % 10_000 == 0
    assert 0 <= per_second * period - quota * 1_000_000 + period - 1 < 10_001 * period


# ---- annotations ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("KillSignal", "15", ("KillSignal", "i", 15)),
        ("TimeoutStopUSec", "uint64 10000000", ("TimeoutStopUSec", "t", 10_000_000)),
        ("CollectMode", "'inactive'", ("CollectMode", "s", "inactive")),
        ("Delegatee", "true", ("Delegatee", "b", True)),
        ("Wants", "['a.service']", ("Wants", "as", ("a.service",))),
        ("TimeoutStopSec", "5", ("TimeoutStopUSec", "t", 5_000_000)),
        ("TimeoutStopSec", "uint64 5", ("TimeoutStopUSec", "t", 5_000_000)),
        ("RuntimeMaxSec", "1.5", ("RuntimeMaxUSec", "t", 1_500_000)),
        ("RuntimeMaxSec", "0", ("RuntimeMaxUSec", "t", 0)),
        # Not a unit of time: no lower-case letter stands before it.
        ("CPUQuotaPerSec", "5", ("CPUQuotaPerUSec", "t", 5_000_000)),
        ("FOOSec", "5", ("FOOSec", "i", 5)),
    ],
)
def test_an_annotation_is_a_property(name, text, expected):
    assert (expected,) == of_annotations({f"{PREFIX}{name}": text, "other": "x"})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("", "5", "not the name"),
        ("ab", "5", "not the name"),
        ("A-B-C", "5", "not the name"),
        ("Abc1", "5", "not the name"),
        ("PIDs", "[uint32 1]", "runtime's to set"),
        ("Slice", "'a.slice'", "runtime's to set"),
        ("Delegate", "false", "runtime's to set"),
        ("KillSignal", "SIGTERM", "no value"),
        ("KillSignal", "", "no value"),
        ("TimeoutStopSec", "'5'", "a number"),
        ("TimeoutStopSec", "true", "a number"),
        ("TimeoutStopSec", "-1", "out of range"),
        ("TimeoutStopSec", "uint64 18446744073709551615", "out of range"),
        ("TimeoutStopSec", "1e400", "out of range"),
    ],
)
def test_a_bad_annotation_is_refused_by_its_name(name, text, says):
    with pytest.raises(SpecError, match=says) as failed:
        of_annotations({f"{PREFIX}{name}": text})

    assert failed.value.what.startswith(f'annotations["{PREFIX}{name}"]')
    assert failed.value.hint
