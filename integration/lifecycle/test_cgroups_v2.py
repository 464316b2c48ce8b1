"""cgroup v2: each limit of config.json, read back from the file that the kernel keeps it in.

Values convert as runc 1.3.2 and crun 1.23 have it; test_cgroups.py has what holds for v1 as well.
"""

from __future__ import annotations

import glob
import json
import os

import pytest

from integration import host, needs
from integration.differences import known_of_runc

MEBI = 1 << 20
pytestmark = [needs.unified, needs.cgroups]


def value(bundle, name):
    """Return the text of a file of the container's cgroup."""
    return host.text_of(f"/sys/fs/cgroup{bundle.cgroup}/{name}").strip()


def exists(bundle, name):
    return os.path.exists(f"/sys/fs/cgroup{bundle.cgroup}/{name}")


# ---- memory --------------------------------------------------------------------------------------
@needs.controllers("memory")
@pytest.mark.parametrize(
    ("limit", "swap", "found"),
    [
        (32, 48, (str(32 * MEBI), str(16 * MEBI))),
        (32, 32, (str(32 * MEBI), "0")),
        (32, -1, (str(32 * MEBI), "max")),
        (-1, -1, ("max", "max")),
        (32, None, (str(32 * MEBI), "max")),
    ],
)
def test_swap_is_told_without_the_memory_that_it_includes(runtime, bundle, limit, swap, found):
    memory = {"limit": limit * MEBI if limit > 0 else limit}
    if swap is not None:
        memory["swap"] = swap * MEBI if swap > 0 else swap
    bundle.resources(memory=memory)
    runtime.started(bundle)

    assert (value(bundle, "memory.max"), value(bundle, "memory.swap.max")) == found


@needs.controllers("memory")
@pytest.mark.parametrize("memory", [{"swap": 48 * MEBI}, {"limit": 48 * MEBI, "swap": 32 * MEBI}])
def test_swap_that_does_not_include_the_memory_is_refused(runtime, bundle, memory):
    bundle.resources(memory=memory)
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert "swap" in result.err


@needs.controllers("memory")
def test_more_than_memory_high_is_counted(runtime, bundle):
    bundle.resources(unified={"memory.high": str(8 * MEBI)})
    bundle.script("head -c 9000000 /dev/zero | tail -c 9000000 >/dev/null")
    container = runtime.create(bundle).start()
    code = container.wait()
    counts = dict(line.split() for line in value(bundle, "memory.events").splitlines())

    assert value(bundle, "memory.high") == str(8 * MEBI)
    assert code == 0
    assert int(counts["high"]) > 0


@needs.controllers("memory")
def test_a_limit_that_is_checked_against_the_usage_is_set_or_refused(runtime, bundle):
    bundle.resources(memory={"limit": 64 * MEBI})
    container = runtime.ready(bundle, "head -c 9000000 /dev/zero >/tmp/used; echo ready; sleep 900")
    found = []
    for limit in (4 * MEBI, 32 * MEBI):
        text = json.dumps({"memory": {"limit": limit, "checkBeforeUpdate": True}})
        done = container.verb("update", "--resources=-", text=text)
        found.append((done.code, value(bundle, "memory.max")))

    assert found == [(1, str(64 * MEBI)), (0, str(32 * MEBI))]
    assert container.status == "running"


# ---- cpu -----------------------------------------------------------------------------------------
# cpu.shares -> cpu.weight: least, default and greatest line up.
WEIGHTS = [(2, "1"), (3, "2"), (128, "21"), (512, "59"), (1024, "100"), (4096, "303")]


@needs.controllers("cpu")
@pytest.mark.parametrize(("shares", "weight"), [*WEIGHTS, (262144, "10000"), (0, "100")])
def test_shares_become_a_weight(runtime, bundle, shares, weight):
    bundle.resources(cpu={"shares": shares})
    runtime.started(bundle)
    found = value(bundle, "cpu.weight")
    linear = str(1 + (shares - 2) * 9999 // 262142)
    known_of_runc(runtime, "before 1.3.2 weights are linear", seen=found == linear != weight)

    assert found == weight


@needs.controllers("cpu")
def test_shares_are_changed_as_a_weight(runtime, bundle):
    runtime.started(bundle).verb("update", "--cpu-share", "512").ok()
    found = value(bundle, "cpu.weight")
    known_of_runc(runtime, "before 1.3.2 weights are linear", seen=found == "20")

    assert found == "59"


@needs.controllers("cpu")
@pytest.mark.parametrize(
    ("cpu", "found"),
    [
        ({"quota": 20000, "period": 50000}, "20000 50000"),
        ({"quota": 20000}, "20000 100000"),
        ({"period": 50000}, "max 50000"),
        ({"quota": -1, "period": 50000}, "max 50000"),
        ({"quota": -1}, "max 100000"),
    ],
)
def test_quota_and_period_are_one_file(runtime, bundle, cpu, found):
    bundle.resources(cpu=cpu)
    runtime.started(bundle)

    assert value(bundle, "cpu.max") == found


@needs.controllers("cpu")
def test_burst_is_set(runtime, bundle):
    bundle.resources(cpu={"quota": 20000, "period": 50000, "burst": 10000})
    runtime.started(bundle)
    found = value(bundle, "cpu.max.burst")
    known_of_runc(runtime, "1.1 drops burst", seen=found == "0")

    assert found == "10000"


@needs.controllers("cpu")
def test_idle_is_set(runtime, bundle):
    bundle.resources(cpu={"idle": 1})
    runtime.started(bundle)
    found = value(bundle, "cpu.idle")
    known_of_runc(runtime, "1.1 drops idle", seen=found == "0")

    assert found == "1"


@needs.controllers("cpuset")
def test_cpus_and_nodes_are_set(runtime, bundle):
    last = max(os.sched_getaffinity(0))
    bundle.resources(cpu={"cpus": str(last), "mems": "0"})
    container = runtime.started(bundle)
    names = ("cpuset.cpus", "cpuset.cpus.effective", "cpuset.mems", "cpuset.mems.effective")

    assert [value(bundle, name) for name in names] == [str(last), str(last), "0", "0"]
    assert os.sched_getaffinity(container.pid) == {last}


# ---- pids ----------------------------------------------------------------------------------------
@needs.controllers("pids")
@pytest.mark.parametrize(("given", "found"), [(7, "7"), (-1, "max"), (0, "max"), (None, "max")])
def test_a_number_of_processes_is_set(runtime, bundle, given, found):
    # Before runtime-spec 1.3 engines meant no limit by 0.
    bundle.config["ociVersion"] = "1.2.0"
    if given is not None:
        bundle.resources(pids={"limit": given})
    runtime.started(bundle)

    assert value(bundle, "pids.max") == found


@needs.controllers("pids")
def test_no_process_more_is_a_limit_since_1_3(runtime, bundle):
    bundle.config["ociVersion"] = "1.3.0"
    bundle.resources(pids={"limit": 0})
    container = runtime.started(bundle)
    found = value(bundle, "pids.max")
    known_of_runc(runtime, "before 1.4 it takes 0 for no limit", seen=found == "max")

    assert found == "0"
    assert container.status == "running"


# ---- io ------------------------------------------------------------------------------------------
@pytest.fixture
def disk():
    """The major and minor number of a whole block device, the real ones first."""
    names = sorted(glob.glob("/sys/block/*/dev"), key=lambda path: ("/loop" in path, path))
    if not names:
        pytest.skip("no block device here")
    major, minor = host.text_of(names[0]).strip().split(":")
    return {"major": int(major), "minor": int(minor)}


def throttled(disk, **rates):
    return {f"throttle{name}Device": [{**disk, "rate": rate}] for name, rate in rates.items()}


@needs.controllers("io")
def test_rates_of_a_device_are_set(runtime, bundle, disk):
    rates = throttled(disk, ReadBps=1 << 20, WriteBps=2 << 20, ReadIOPS=100, WriteIOPS=200)
    bundle.resources(blockIO=rates)
    runtime.started(bundle)
    expected = "{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200".format(**disk)

    assert value(bundle, "io.max") == expected


@needs.controllers("io")
def test_a_rate_of_a_device_that_is_not_there_is_an_error(runtime, bundle):
    bundle.resources(blockIO=throttled({"major": 250, "minor": 77}, ReadBps=1 << 20))
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert "io.max" in result.err


def weight_of_io(bundle):
    """Return the file that has the weight, and its first line. BFQ's has the range of v1."""
    for name in ("io.bfq.weight", "io.weight"):
        if exists(bundle, name):
            return name, value(bundle, name).splitlines()[0]
    pytest.skip("no weights of I/O in this kernel")


EXPECTED_WEIGHTS = {"io.bfq.weight": "default 500", "io.weight": "default 4950"}


@needs.controllers("io")
def test_a_weight_of_io_is_set(runtime, bundle, new_bundle):
    other = new_bundle()
    runtime.started(other)
    weight_of_io(other)
    bundle.resources(blockIO={"weight": 500})
    runtime.started(bundle)
    name, line = weight_of_io(bundle)

    assert line == EXPECTED_WEIGHTS[name]


@needs.controllers("io")
def test_a_weight_of_io_is_changed(runtime, bundle):
    container = runtime.started(bundle)
    weight_of_io(bundle)
    container.verb("update", "--blkio-weight", "500").ok()
    name, line = weight_of_io(bundle)

    assert line == EXPECTED_WEIGHTS[name]


# ---- hugetlb, rdma, misc -------------------------------------------------------------------------
def page_sizes():
    """Return the sizes of huge pages, as OCI names them."""
    found = []
    for path in glob.glob("/sys/kernel/mm/hugepages/hugepages-*kB"):
        kibi = int(path.rpartition("-")[2].removesuffix("kB"))
        found.append(f"{kibi >> 20}GB" if kibi >> 20 else f"{kibi >> 10}MB")
    return sorted(found)


@needs.controllers("hugetlb")
def test_use_and_reservation_of_huge_pages_are_limited(runtime, bundle):
    sizes = page_sizes()
    limit = 1 << 30
    bundle.resources(hugepageLimits=[{"pageSize": size, "limit": limit} for size in sizes])
    runtime.started(bundle)
    names = [f"hugetlb.{size}.{name}" for size in sizes for name in ("max", "rsvd.max")]

    found = {name: value(bundle, name) for name in names}
    used = {name for name, text in found.items() if text == str(limit)}
    known_of_runc(runtime, "1.1 limits the use only", seen=used == set(names[::2]))

    assert names
    assert used == set(names)


@needs.controllers("rdma")
def test_rdma_of_a_device_that_is_not_there_is_an_error(runtime, bundle):
    bundle.resources(rdma={"nosuch0": {"hcaHandles": 3, "hcaObjects": 100}})
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert "rdma" in result.err


@needs.controllers("misc")
def test_misc_is_had_through_unified(runtime, bundle):
    # Which resources there are is the machine's: encrypted guests on AMD, nothing on most.
    known = host.text_of("/sys/fs/cgroup/misc.capacity").split()[::2]
    bundle.resources(unified={"misc.max": f"{(known or ['nosuch'])[0]} 1"})
    result = runtime.try_create(bundle)

    if known:
        assert f"{known[0]} 1" in value(bundle, "misc.max").splitlines()
    else:
        assert result.code != 0
        assert "misc.max" in result.err


# ---- unified -------------------------------------------------------------------------------------
@needs.controllers("memory", "pids", "cpu")
def test_unified_is_written_key_by_key(runtime, bundle):
    given = {
        "memory.high": str(48 * MEBI),
        "memory.min": str(4 * MEBI),
        "memory.oom.group": "1",
        "pids.max": "33",
        "cpu.max": "30000 60000",
        "cpu.weight": "77",
        "cgroup.max.descendants": "5",
    }
    bundle.resources(unified=given)
    runtime.started(bundle)

    assert {name: value(bundle, name) for name in given} == given


@needs.controllers("memory", "pids")
def test_unified_has_the_last_word(runtime, bundle):
    bundle.resources(
        memory={"limit": 64 * MEBI},
        pids={"limit": 20},
        unified={"memory.max": str(32 * MEBI), "pids.max": "max"},
    )
    runtime.started(bundle)

    assert (value(bundle, "memory.max"), value(bundle, "pids.max")) == (str(32 * MEBI), "max")


@needs.controllers("memory", "pids")
@pytest.mark.parametrize(
    ("key", "text"),
    [("memory.high", "much"), ("pids.max", "many"), ("memory.nosuch", "1"), ("cpu.weight", "0")],
)
def test_a_value_of_unified_that_the_kernel_refuses_is_named(runtime, bundle, key, text):
    bundle.resources(unified={"memory.low": "4096", "pids.max": "20", key: text})
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert key in result.err


@needs.controllers("pids", "memory")
def test_unified_changes_a_container_that_runs(runtime, bundle):
    container = runtime.started(bundle)
    text = json.dumps({"unified": {"pids.max": "44", "memory.high": "max"}})
    container.verb("update", "--resources=-", text=text).ok()

    assert value(bundle, "pids.max") == "44"
