"""Figures from cgroup files; the files here are those of real cgroups, v1, v2 and hybrid."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.statistics import statistics_of

V2 = {
    "cpu.stat": "usage_usec 7000\nuser_usec 4000\nsystem_usec 3000\nnr_periods 5\n"
    "nr_throttled 2\nthrottled_usec 900\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.00 total=5985\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=2348\n",
    "cpuset.cpus": "\n",
    "cpuset.cpus.effective": "0-1,3\n",
    "cpuset.mems.effective": "0\n",
    "memory.current": "1000\n",
    "memory.max": "4096\n",
    "memory.peak": "2000\n",
    "memory.swap.current": "50\n",
    "memory.swap.max": "100\n",
    "memory.stat": "anon 300\nfile 200\nkernel 40\nsock 7\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    "pids.current": "2\n",
    "pids.max": "max\n",
    "io.stat": "8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:0\n",
    "hugetlb.2MB.current": "4194304\n",
    "hugetlb.2MB.rsvd.current": "0\n",
    "hugetlb.2MB.events": "max 6\n",
}


@pytest.fixture
def make(tmp_path):
    def made(name, files):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        return f"{tmp_path}/{name}"

    return made


@pytest.fixture
def v2(make):
    return statistics_of((make("unified", V2),))


def test_cpu_of_v2_is_in_nanoseconds(v2):
    assert {"total": 7_000_000, "kernel": 3_000_000, "user": 4_000_000} == v2["cpu"]["usage"]
    assert {"periods": 5, "throttledPeriods": 2, "throttledTime": 900_000} == v2["cpu"][
        "throttling"
    ]


def test_pressure_is_told_by_v2(v2):
    assert {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 5985} == v2["cpu"]["psi"]["some"]
    assert "psi" not in v2["memory"]


def test_cpus_are_those_in_force(v2):
    assert ([0, 1, 3], [0]) == (v2["cpuset"]["cpus"], v2["cpuset"]["mems"])


def test_swap_of_v2_is_told_with_memory_as_in_v1(v2):
    memory = v2["memory"]

    assert {"limit": 4096, "usage": 1000, "max": 2000, "failcnt": 3} == memory["usage"]
    assert {"limit": 4196, "usage": 1050, "failcnt": 0} == memory["swap"]
    assert (200, 40, 7) == (
        memory["cache"],
        memory["kernel"]["usage"],
        memory["kernelTCP"]["usage"],
    )
    assert {"anon": 300, "file": 200, "kernel": 40, "sock": 7} == memory["raw"]


def test_no_limit_of_v2_is_the_greatest_number(make):
    data = statistics_of((make("unified", {**V2, "memory.max": "max\n"}),))

    assert ((1 << 64) - 1,) * 2 == tuple(data["memory"][x]["limit"] for x in ("usage", "swap"))


def test_no_limit_of_processes_is_left_out(v2):
    assert {"current": 2} == v2["pids"]


def test_io_of_v2_is_told_by_operation(v2):
    device = {"major": 8, "minor": 16}

    assert {
        "ioServiceBytesRecursive": [
            {**device, "op": "Read", "value": 10},
            {**device, "op": "Write", "value": 20},
        ],
        "ioServicedRecursive": [
            {**device, "op": "Read", "value": 1},
            {**device, "op": "Write", "value": 2},
        ],
    } == v2["blkio"]


def test_huge_pages_are_told_by_size(v2):
    assert {"2MB": {"usage": 4194304, "failcnt": 6}} == v2["hugetlb"]


def test_a_hybrid_host_tells_each_figure_from_where_it_is(make):
    paths = (
        make("unified", {"cpu.stat": V2["cpu.stat"][:43], "cpu.pressure": V2["cpu.pressure"]}),
        make("cpu", {"cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 77\n"}),
        make(
            "cpuacct",
            {
                "cpuacct.usage": "5000\n",
                "cpuacct.usage_percpu": "3000 2000 \n",
                "cpuacct.usage_all": "cpu user system\n0 2000 1000\n1 1500 500\n",
                "cpuacct.stat": "user 3\nsystem 1\n",
            },
        ),
        make(
            "memory",
            {
                "memory.usage_in_bytes": "10\n",
                "memory.limit_in_bytes": "20\n",
                "memory.max_usage_in_bytes": "15\n",
                "memory.failcnt": "1\n",
                "memory.stat": "cache 4\n",
            },
        ),
        make(
            "blkio",
            {
                "blkio.bfq.io_service_bytes_recursive": "Total 0\n",
                "blkio.throttle.io_service_bytes_recursive": "254:0 Read 4096\nTotal 4096\n",
                "blkio.time_recursive": "254:0 12\n",
            },
        ),
    )
    data = statistics_of(paths)

    assert {
        "usage": {
            "total": 5000,
            "percpu": [3000, 2000],
            "percpu_kernel": [1000, 500],
            "percpu_user": [2000, 1500],
            "kernel": 10_000_000,
            "user": 30_000_000,
        },
        "throttling": {"periods": 9, "throttledPeriods": 4, "throttledTime": 77},
    } == {name: data["cpu"][name] for name in ("usage", "throttling")}
    assert 5985 == data["cpu"]["psi"]["some"]["total"]
    assert {"limit": 20, "usage": 10, "max": 15, "failcnt": 1} == data["memory"]["usage"]
    assert {
        "ioServiceBytesRecursive": [{"major": 254, "op": "Read", "value": 4096}],
        "ioTimeRecursive": [{"major": 254, "value": 12}],
    } == data["blkio"]


def test_without_cgroups_there_are_no_figures():
    data = statistics_of(())

    assert {"limit": 0, "failcnt": 0} == data["memory"]["kernel"]
    assert ({}, {}, {}) == (data["pids"], data["blkio"], data["hugetlb"])


def test_a_cgroup_that_is_gone_has_no_figures(tmp_path):
    assert {} == statistics_of((f"{tmp_path}/gone",))["pids"]
