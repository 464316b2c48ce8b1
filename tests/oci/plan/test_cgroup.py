"""Which cgroups a container gets, and which steps it takes; all pure."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.host import Hierarchy, Host
from aisbx_runtime.oci.plan import cgroup
from aisbx_runtime.oci.spec.model import (
    BlockIo,
    Cpu,
    DeviceRule,
    HugepageLimit,
    Linux,
    Memory,
    Network,
    Pids,
    Resources,
    Root,
    Spec,
)

BASE = "/sys/fs/cgroup"
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
DENY_ALL = DeviceRule(allow=False, type="a", major=None, minor=None, access="rwm")
ALLOW_ALL = DeviceRule(allow=True, type="a", major=None, minor=None, access="rwm")
MEMORY_PAIR = (
    "write 100 to memory.limit_in_bytes and 200 to memory.memsw.limit_in_bytes "
    f"in {BASE}/memory/a/b"
)


def v1(*controllers: str, own: str = "/", root: str = "/") -> Hierarchy:
    name = controllers[0].removeprefix("name=")
    return Hierarchy(1, controllers, f"{BASE}/{name}", root, own)


def v2(mount_point: str = BASE, own: str = "/user.slice/a.scope", root: str = "/", *, has=()):
    return Hierarchy(2, (), mount_point, root, own, tuple(has))


def host(*hierarchies: Hierarchy, euid: int = 0, user_namespace: bool = False) -> Host:
    return Host(
        kernel=(6, 18),
        machine="x86_64",
        euid=euid,
        egid=euid,
        user_namespace=user_namespace,
        may_setgroups=True,
        last_capability=40,
        hierarchies=hierarchies,
        unified=bool(hierarchies) and all(one.version == 2 for one in hierarchies),
    )


UNIFIED = host(v2(has=V2_CONTROLLERS))
HYBRID = host(
    v1("cpu", "cpuacct"),
    v1("cpuset"),
    v1("memory", own="/agent/1"),
    v1("devices"),
    v1("freezer"),
    v1("pids"),
    v1("blkio"),
    v1("name=systemd"),
    v2(f"{BASE}/unified", own="/", has=("hugetlb",)),
)


def spec(
    resources: Resources | None = None, path: str | None = "/a/b", version: str = "1.2.0"
) -> Spec:
    return Spec(version, Root("rootfs"), linux=Linux(cgroups_path=path, resources=resources))


def lines(steps) -> list[str]:
    return [step.describe() for step in steps]


def plan(machine: Host, resources: Resources | None = None, **changes) -> cgroup.CgroupPlan:
    return cgroup.plan(spec(resources, **changes), machine, "id", "cgroupfs")


# ---- paths ---------------------------------------------------------------------------------------
def test_an_absolute_path_is_below_every_mount_point():
    assert (
        f"{BASE}/unified/a/b",
        f"{BASE}/freezer/a/b",
        f"{BASE}/cpu/a/b",
        f"{BASE}/cpuset/a/b",
        f"{BASE}/memory/a/b",
        f"{BASE}/devices/a/b",
        f"{BASE}/pids/a/b",
        f"{BASE}/blkio/a/b",
        f"{BASE}/systemd/a/b",
    ) == plan(HYBRID).paths


def test_without_unified_the_freezer_comes_first():
    machine = host(v1("memory"), v1("freezer"))

    assert (f"{BASE}/freezer/a/b", f"{BASE}/memory/a/b") == plan(machine).paths


@pytest.mark.parametrize(
    ("path", "own", "root", "expected"),
    [
        ("a/b", "/agent/1", "/", "agent/1/a/b"),
        (None, "/agent/1", "/", "agent/1/id"),
        ("", "/", "/", "id"),
        ("./a//b/", "/x", "/", "x/a/b"),
        # A mount that shows a part: what lies below its root is written relative to it.
        ("/docker/c/a", "/docker/c", "/docker/c", "a"),
        ("/elsewhere", "/docker/c", "/docker/c", "elsewhere"),
        (None, "/docker/c/x", "/docker/c", "x/id"),
        # A cgroup namespace whose root the runtime is not below.
        (None, "/../../x", "/", "id"),
    ],
)
def test_a_path_on_v1(path, own, root, expected):
    machine = host(v1("memory", own=own, root=root))

    assert (f"{BASE}/memory/{expected}",) == plan(machine, path=path).paths


@pytest.mark.parametrize(
    ("path", "own", "expected"),
    [
        (None, "/user.slice/a.scope", "user.slice/id"),
        ("x", "/user.slice/a.scope", "user.slice/x"),
        (None, "/", "id"),
        (None, "/init.scope", "id"),
        ("/a", "/user.slice/a.scope", "a"),
    ],
)
def test_a_path_on_v2_is_beside_the_runtimes_own_cgroup(path, own, expected):
    assert (f"{BASE}/{expected}",) == plan(host(v2(own=own)), path=path).paths


@pytest.mark.parametrize("path", ["/a/../b", "..", "a/..", "/", "//", "."])
def test_a_path_that_leaves_or_is_the_root_is_refused(path):
    with pytest.raises(SpecError):
        plan(UNIFIED, path=path)


def test_two_dots_within_a_name_are_a_name():
    assert (f"{BASE}/a..b",) == plan(UNIFIED, path="/a..b").paths


# ---- managers ------------------------------------------------------------------------------------
def test_disabled_means_no_cgroup_at_all():
    wanted = spec(Resources(memory=Memory(limit=5)))

    assert cgroup.CgroupPlan() == cgroup.plan(wanted, UNIFIED, "id", "disabled")


# ---- steps ---------------------------------------------------------------------------------------
def test_on_v2_init_is_born_in_its_cgroup():
    wanted = plan(UNIFIED, Resources(pids=Pids(5)))

    assert [
        f"make cgroup {BASE}/a/b with +pids",
        f"open cgroup {BASE}/a/b for the birth of container init",
    ] == lines(wanted.early)
    assert wanted.join == ()
    assert [f"write 5 to pids.max in {BASE}/a/b"] == lines(wanted.limits)


def test_on_v2_controllers_without_a_limit_are_offered():
    (make, _) = plan(UNIFIED, Resources(pids=Pids(5))).early

    assert ("pids",) == make.needed
    assert ("cpu", "cpuset", "io", "memory") == make.offered


def test_on_a_hybrid_host_init_joins_every_v1_hierarchy():
    wanted = plan(HYBRID)
    joined = [step.path for step in wanted.join]

    assert wanted.paths[1:] == tuple(joined)
    assert f"{BASE}/systemd/a/b" in joined
    assert f"open cgroup {BASE}/unified/a/b for the birth of container init" == (
        wanted.early[-1].describe()
    )


def test_on_v1_a_new_cpuset_inherits_before_it_is_joined():
    makes = {step.path: step.inherited for step in plan(HYBRID).early[:-1]}

    assert ("cpuset.cpus", "cpuset.mems") == makes[f"{BASE}/cpuset/a/b"]
    assert makes[f"{BASE}/memory/a/b"] == ()


def test_limits_go_where_their_controller_is():
    resources = Resources(
        memory=Memory(limit=100, swap=200),
        cpu=Cpu(quota=5, period=6, cpus="0", realtime_runtime=7),
        pids=Pids(9),
        block_io=BlockIo(weight=10),
        hugepage_limits=(HugepageLimit("2MB", 4),),
    )
    wanted = plan(HYBRID, resources)

    assert [
        MEMORY_PAIR,
        f"write 6 to cpu.cfs_period_us and 5 to cpu.cfs_quota_us in {BASE}/cpu/a/b",
        f"write 0 to cpuset.cpus in {BASE}/cpuset/a/b",
        f"write 9 to pids.max in {BASE}/pids/a/b",
        f"write 4 to hugetlb.2MB.max in {BASE}/unified/a/b",
        f"write 4 to hugetlb.2MB.rsvd.max in {BASE}/unified/a/b",
        f"write 10 to blkio.weight in {BASE}/blkio/a/b",
    ] == lines(wanted.limits)
    assert f"write 7 to cpu.rt_runtime_us in {BASE}/cpu/a/b" in lines(wanted.early)
    assert f"make cgroup {BASE}/unified/a/b with +hugetlb" in lines(wanted.early)


def test_a_step_knows_its_line_of_config_json():
    resources = Resources(memory=Memory(limit=1, swap=2, swappiness=3), pids=Pids(4))

    assert [
        "linux.resources.memory",
        "linux.resources.memory.swappiness",
        "linux.resources.pids.limit",
    ] == [step.origin for step in plan(HYBRID, resources).limits]


def test_the_values_of_one_step_know_theirs():
    (step,) = plan(HYBRID, Resources(memory=Memory(limit=1, swap=2))).limits

    assert ["linux.resources.memory.limit", "linux.resources.memory.swap"] == [
        one.origin for one in step.settings
    ]


def test_a_lone_period_on_v2_keeps_the_quota():
    wanted = plan(UNIFIED, Resources(cpu=Cpu(period=20000, burst=5)))

    assert [
        f"write the period 20000 to cpu.max in {BASE}/a/b",
        f"write 5 to cpu.max.burst in {BASE}/a/b",
    ] == lines(wanted.limits)
    assert "cpu" in wanted.early[0].needed


@pytest.mark.parametrize(
    ("version", "expected"), [("1.0.2-dev", "max"), ("1.2.1", "max"), ("1.3.0", "0"), ("2.0", "0")]
)
def test_what_pids_0_means_depends_on_the_version_of_the_spec(version, expected):
    (step,) = plan(UNIFIED, Resources(pids=Pids(0)), version=version).limits

    assert f"write {expected} to pids.max in {BASE}/a/b" == step.describe()


def test_unified_values_follow_the_typed_ones():
    resources = Resources(
        memory=Memory(limit=5), unified={"memory.high": "4", "cgroup.max.depth": "2"}
    )

    assert [
        f"write 5 to memory.max in {BASE}/a/b",
        f"write 4 to memory.high in {BASE}/a/b",
        f"write 2 to cgroup.max.depth in {BASE}/a/b",
    ] == lines(plan(UNIFIED, resources).limits)


@pytest.mark.parametrize("controller", ["misc", "memory", "rdma"])
def test_the_controller_of_a_unified_value_is_enabled(controller):
    make = plan(UNIFIED, Resources(unified={f"{controller}.some": "4"})).early[0]

    assert (controller,) == make.needed


def test_a_unified_value_of_a_controller_that_is_v1_is_refused():
    with pytest.raises(SpecError) as caught:
        plan(HYBRID, Resources(unified={"memory.high": "4"}))

    assert 'unified["memory.high"]' in caught.value.what


# ---- missing controllers -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("resources", "controller"),
    [
        (Resources(memory=Memory(limit=1)), "memory"),
        (Resources(cpu=Cpu(shares=5)), "cpu"),
        (Resources(cpu=Cpu(cpus="0")), "cpuset"),
        (Resources(pids=Pids(1)), "pids"),
        (Resources(block_io=BlockIo(weight=10)), "io"),
        (Resources(network=Network(class_id=1)), "net_cls"),
        (Resources(unified={"misc.max": "x 1"}), "misc"),
        (Resources(unified={"cgroup.max.depth": "1"}), "cgroup"),
    ],
)
def test_a_limit_without_its_controller_is_refused(resources, controller):
    machine = host(v1("freezer"))
    with pytest.raises(HostError) as caught:
        plan(machine, resources)

    assert f'"{controller}"' in caught.value.what


@pytest.mark.parametrize(
    "resources",
    [
        Resources(pids=Pids(-1)),
        Resources(pids=Pids(0)),
        Resources(memory=Memory(limit=-1)),
        Resources(cpu=Cpu(shares=0, quota=-1)),
    ],
)
def test_no_limit_needs_no_controller(resources):
    assert plan(host(v2()), resources).limits == ()


@pytest.mark.parametrize("changes", [{"euid": 1000}, {"user_namespace": True}])
def test_rootless_a_missing_controller_is_ignored(changes):
    machine = host(v2(), **changes)

    assert plan(machine, Resources(memory=Memory(limit=1))).limits == ()


def test_rootless_every_step_may_fail_and_init_moves_by_itself():
    machine = host(v2(has=V2_CONTROLLERS), euid=1000)
    wanted = plan(machine, Resources(pids=Pids(1), devices=(DENY_ALL,)))

    assert [f"move container init into cgroup {BASE}/a/b"] == lines(wanted.join)
    assert all(step.optional for step in (*wanted.early, *wanted.join, *wanted.limits))


# ---- devices -------------------------------------------------------------------------------------
def test_devices_on_v2_are_filtered_by_a_program():
    (step,) = plan(UNIFIED, Resources(devices=(DENY_ALL,))).limits

    assert f"attach a device filter (10 rules that allow) to {BASE}/a/b" == step.describe()


def test_devices_on_v1_are_a_default_and_exceptions():
    (step,) = plan(HYBRID, Resources(devices=(DENY_ALL,))).limits

    assert f"{BASE}/devices/a/b" == step.directory
    assert step.describe().startswith("deny all devices but allow c *:* m, b *:* m, c 1:3 rwm,")


def test_devices_of_a_privileged_container_need_no_filter_on_v2():
    assert plan(UNIFIED, Resources(devices=(DENY_ALL, ALLOW_ALL))).limits == ()


def test_devices_of_a_privileged_container_on_v1():
    (step,) = plan(HYBRID, Resources(devices=(DENY_ALL, ALLOW_ALL))).limits

    assert f"allow all devices in {BASE}/devices/a/b" == step.describe()


def test_a_hybrid_host_without_the_devices_controller_filters_by_program():
    machine = host(v1("memory"), v2(f"{BASE}/unified", own="/"))
    (step,) = plan(machine, Resources(devices=(DENY_ALL,))).limits

    assert f"{BASE}/unified/a/b" == step.directory


def test_devices_that_cannot_be_filtered_are_refused_but_for_rootless():
    resources = Resources(devices=(DENY_ALL,))
    with pytest.raises(HostError):
        plan(host(v1("memory")), resources)

    assert plan(host(v1("memory"), euid=1000), resources).limits == ()
