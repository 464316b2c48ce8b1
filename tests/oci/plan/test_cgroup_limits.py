"""Limits of cgroups, held by the kernel."""

from __future__ import annotations

import os
import signal

import pytest

from aisbx_runtime.oci import cgroup as live
from aisbx_runtime.oci.errors import StepError
from aisbx_runtime.oci.spec.model import BlockIo, Cpu, Memory, Pids, Resources, ThrottleDevice
from tests.oci.cgroups import HOST, MIB, apply_update, place, read

pytestmark = pytest.mark.root

EAT = """
    block = bytearray(200 << 20)
    block[::4096] = b"x" * len(block[::4096])
    print("survived")
"""


def test_memory_above_the_limit_is_killed_and_counted(container):
    place("memory")
    one = container(Resources(memory=Memory(limit=64 * MIB, swap=64 * MIB)))
    code, output = one.run(EAT)

    assert (-signal.SIGKILL, "") == (code, output)
    assert live.oom_kills(one.paths) >= 1


def test_memory_without_a_limit_is_not_killed(container):
    place("memory")
    one = container(Resources(memory=Memory(limit=-1)))

    assert (0, "survived\n") == one.run(EAT)
    assert live.oom_kills(one.paths) == 0


def test_a_memory_limit_below_the_usage_says_so(container):
    if place("memory").version == 2:
        pytest.skip("cgroup v2 takes any limit, and kills")
    one = container()
    # Memory is charged where it is touched: in the cgroup, and more than can be reclaimed.
    child = one.start("""
        block = bytearray(b"x" * (20 << 20))
        import ctypes
        ctypes.CDLL(None).mlockall(1)
        print("ready", flush=True)
        sys.stdin.read()
    """)
    child.stdout.readline()
    resources = Resources(memory=Memory(limit=MIB))
    with pytest.raises(StepError) as caught:
        apply_update(one, resources)

    assert "linux.resources.memory.limit" == caught.value.where
    assert "EBUSY" in caught.value.why
    assert "raise it" in caught.value.hint


def memory_files() -> tuple[int, int]:
    """Return the limit, and the limit of memory and swap together as config.json means it."""
    where = place("memory")
    names = ("memory.max", "memory.swap.max")
    if where.version == 1:
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    limit, swap = [int(read(f"{where.path}/{name}")) for name in names]
    return limit, swap if where.version == 1 else limit + swap


def test_memory_with_swap_is_raised_and_lowered(container):
    where = place("memory")
    swap_file = "memory.memsw.limit_in_bytes" if where.version == 1 else "memory.swap.max"
    one = container(Resources(memory=Memory(limit=64 * MIB, swap=80 * MIB)))
    if not os.path.exists(f"{where.path}/{swap_file}"):
        pytest.skip("this kernel does not count swap")
    one.limit()

    assert (64 * MIB, 80 * MIB) == memory_files()
    for limit, swap in ((128, 256), (32, 32), (512, 512), (16, 200)):
        resources = Resources(memory=Memory(limit=limit * MIB, swap=swap * MIB))
        apply_update(one, resources)

        assert (limit * MIB, swap * MIB) == memory_files()


def test_an_update_below_the_usage_is_refused_when_asked_to_check(container):
    place("memory")
    one = container()
    child = one.start("print('ready', flush=True)\nsys.stdin.read()")
    child.stdout.readline()
    resources = Resources(memory=Memory(limit=64 * 1024, check_before_update=True))
    with pytest.raises(StepError):
        apply_update(one, resources)

    assert child.poll() is None


def test_the_limit_of_pids_stops_a_fork(container):
    place("pids")
    one = container(Resources(pids=Pids(3)))
    code, output = one.run("""
        children = []
        try:
            for _ in range(5):
                pid = os.fork()
                if pid == 0:
                    sys.stdin.read()
                    os._exit(0)
                children.append(pid)
        except BlockingIOError:
            print(len(children))
        for pid in children:
            os.kill(pid, 9)
    """)

    assert (0, "2\n") == (code, output)


def test_no_limit_of_pids(container):
    one = container(Resources(pids=Pids(-1)))
    one.limit()

    assert read(f"{place('pids').path}/pids.max") == "max"


def test_a_quota_throttles(container):
    where = place("cpu")
    one = container(Resources(cpu=Cpu(quota=2000, period=20000)))
    code, _ = one.run("""
        import time
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    """)
    counts = dict(line.split() for line in read(f"{where.path}/cpu.stat").splitlines())

    assert code == 0
    assert int(counts["nr_throttled"]) > 0


def test_cpu_values_arrive(container):
    where = place("cpu")
    one = container(Resources(cpu=Cpu(shares=512, quota=50000, period=100000, burst=20000)))
    one.limit()
    expected = {"cpu.weight": "59", "cpu.max": "50000 100000", "cpu.max.burst": "20000"}
    if where.version == 1:
        expected = {
            "cpu.shares": "512",
            "cpu.cfs_quota_us": "50000",
            "cpu.cfs_period_us": "100000",
            "cpu.cfs_burst_us": "20000",
        }

    assert expected == {name: read(f"{where.path}/{name}") for name in expected}


def test_a_quota_with_its_burst_is_raised_and_lowered(container):
    where = place("cpu")
    one = container(Resources(cpu=Cpu(quota=50000, burst=50000)))
    one.limit()
    quota_file = "cpu.max" if where.version == 2 else "cpu.cfs_quota_us"
    for quota, burst in ((80000, 80000), (10000, 5000)):
        resources = Resources(cpu=Cpu(quota=quota, burst=burst))
        apply_update(one, resources)

        assert str(quota) == read(f"{where.path}/{quota_file}").split()[0]


def test_a_period_alone_keeps_the_quota(container):
    where = place("cpu")
    one = container(Resources(cpu=Cpu(quota=50000, period=100000)))
    one.limit()
    apply_update(one, Resources(cpu=Cpu(period=200000)))
    if where.version == 2:
        assert read(f"{where.path}/cpu.max") == "50000 200000"
    else:
        assert read(f"{where.path}/cpu.cfs_quota_us") == "50000"
        assert read(f"{where.path}/cpu.cfs_period_us") == "200000"


def test_an_idle_cgroup_and_back_with_shares(container):
    where = place("cpu")
    one = container(Resources(cpu=Cpu(idle=1)))
    one.limit()

    assert read(f"{where.path}/cpu.idle") == "1"
    # While idle the kernel refuses shares: they have to follow.
    apply_update(one, Resources(cpu=Cpu(shares=2048, idle=0)))
    shares = "cpu.weight" if where.version == 2 else "cpu.shares"

    assert read(f"{where.path}/cpu.idle") == "0"
    assert read(f"{where.path}/{shares}") in {"174", "2048"}


def test_cpus_bind(container):
    place("cpuset")
    one = container(Resources(cpu=Cpu(cpus="0", mems="0")))
    code, output = one.run("print(sorted(os.sched_getaffinity(0)))")

    assert (0, "[0]\n") == (code, output)


def test_a_cpuset_without_limits_can_be_joined(container):
    place("cpuset")
    one = container()
    code, output = one.run("print(sorted(os.sched_getaffinity(0)))")

    assert (0, f"{sorted(os.sched_getaffinity(0))}\n") == (code, output)


def test_a_value_that_the_kernel_refuses_names_its_line(container):
    place("cpu")
    one = container(Resources(cpu=Cpu(quota=1)))
    with pytest.raises(StepError) as caught:
        one.limit()

    assert "linux.resources.cpu.quota" == caught.value.where
    assert "EINVAL" in caught.value.why


def test_a_throttled_disk(container):
    controllers = {name for one in HOST.hierarchies for name in (*one.controllers, *one.available)}
    where = place("blkio" if "blkio" in controllers else "io")
    disks = [name for name in sorted(os.listdir("/sys/block")) if name[:2] in {"vd", "sd", "nv"}]
    if not disks:
        pytest.skip("no disk")
    major, minor = map(int, read(f"/sys/block/{disks[0]}/dev").split(":"))
    throttle = (ThrottleDevice(major, minor, 5 * MIB),)
    one = container(
        Resources(
            block_io=BlockIo(throttle_read_bps_device=throttle, throttle_write_iops_device=throttle)
        )
    )
    one.limit()
    if where.version == 2:
        assert f"{major}:{minor} rbps={5 * MIB} wbps=max riops=max wiops={5 * MIB}" == read(
            f"{where.path}/io.max"
        )
    else:
        for name in ("read_bps_device", "write_iops_device"):
            assert f"{major}:{minor} {5 * MIB}" == read(f"{where.path}/blkio.throttle.{name}")


def test_cpus_that_are_not_there_are_refused(container):
    place("cpuset")
    one = container(Resources(cpu=Cpu(cpus="1000")))
    with pytest.raises(StepError) as caught:
        one.limit()

    assert "linux.resources.cpu.cpus" == caught.value.where
    assert caught.value.hint
