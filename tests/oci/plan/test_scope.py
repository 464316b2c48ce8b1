"""The scope of a container: which unit and cgroup, and the steps that make it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.plan import scope
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.spec import parse
from aisbx_runtime.oci.systemd.instance import Instance
from tests import hosts
from tests.strategies import base_config

ADDRESS = "unix:path=/run/systemd/private"
SYSTEM = Instance(False, ADDRESS, "")
MANAGER = "/user.slice/user-1000.slice/user@1000.service"
USER = Instance(True, "unix:path=/run/user/1000/bus", MANAGER)
TOP = "/sys/fs/cgroup"
PODS = "/kubepods.slice/kubepods-burstable.slice"
CPU = "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=510000"


def unit(path, systemd=SYSTEM, container_id="id"):
    found = scope.unit_of(path, container_id, systemd)
    return found.name, found.slice, found.cgroup


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (None, ("aisbx-id.scope", "system.slice", "/system.slice/aisbx-id.scope")),
        ("", ("aisbx-id.scope", "system.slice", "/system.slice/aisbx-id.scope")),
        (
            "machine.slice:libpod:1f",
            ("libpod-1f.scope", "machine.slice", "/machine.slice/libpod-1f.scope"),
        ),
        (
            "system.slice:docker:1",
            ("docker-1.scope", "system.slice", "/system.slice/docker-1.scope"),
        ),
        (":docker:1", ("docker-1.scope", "system.slice", "/system.slice/docker-1.scope")),
        ("a.slice::b", ("b.scope", "a.slice", "/a.slice/b.scope")),
        ("-.slice:a:b", ("a-b.scope", "-.slice", "/a-b.scope")),
        (
            "kubepods-burstable-pod1.slice:cri-containerd:2",
            (
                "cri-containerd-2.scope",
                "kubepods-burstable-pod1.slice",
                f"{PODS}/kubepods-burstable-pod1.slice/cri-containerd-2.scope",
            ),
        ),
        (
            "machine-libpod_pod_7a.slice:libpod:1",
            (
                "libpod-1.scope",
                "machine-libpod_pod_7a.slice",
                "/machine.slice/machine-libpod_pod_7a.slice/libpod-1.scope",
            ),
        ),
    ],
)
def test_the_forms_that_engines_send(path, expected):
    assert expected == unit(path)


def test_a_users_systemd_has_all_below_its_own_cgroup():
    assert ("aisbx-id.scope", "user.slice", f"{MANAGER}/user.slice/aisbx-id.scope") == unit(
        "", USER
    )
    assert f"{MANAGER}/libpod-1.scope" == unit("-.slice:libpod:1", USER)[2]


def test_a_plus_in_an_id_is_escaped():
    assert "aisbx-a\\x2bb.scope" == unit("", container_id="a+b")[0]


@pytest.mark.parametrize(
    "path",
    [
        "/default/one", "one", "a.slice:b", "a.slice:b:c:d", "a.slice:b:", "::",
        "a:b:c", "slice:b:c", ".slice:b:c", "-a.slice:b:c", "a-.slice:b:c", "a--b.slice:b:c",
        "a/b.slice:b:c", "../a.slice:b:c", "a.slice:b:c/d", "a.slice:b:../c", "a.slice:b c:d",
        "a.slice:b:c.slice", "a.slice:b:é", f"a.slice:b:{'c' * 256}", "a b.slice:b:c",
    ],
)  # fmt: skip
def test_another_form_is_refused(path):
    with pytest.raises(SpecError, match=r"linux\.cgroupsPath") as failed:
        unit(path)

    assert failed.value.hint


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_no_path_leads_out_of_the_slice(slice_, prefix, name):
    try:
        found = unit(f"{slice_}.slice:{prefix}:{name}", USER)
    except SpecError:
        return
    parts = found[2].split("/")

    assert found[2].startswith(f"{MANAGER}/")
    assert found[0] == parts[-1]
    assert not {"", ".", ".."} & set(parts[1:])


# ---- the plan ------------------------------------------------------------------------------------
def planned(
    systemd=SYSTEM, host=hosts.UNIFIED, path="a-b.slice:c:d", resources=None, **annotations
):
    config = base_config()
    config["linux"]["cgroupsPath"] = path
    config["linux"]["resources"] = resources or {}
    config["annotations"] = {name.replace("__", "."): text for name, text in annotations.items()}
    spec = parse.spec_of(json.dumps(config), "config.json")
    options = Options("/cache", "systemd", systemd=systemd)
    return build(spec, host, "one", "/bundle", options)


def lines(plan, phase):
    return [step.describe() for step in plan.phase(phase) if "cgroup" in step.origin
            or "resources" in step.origin or "annotations" in step.origin]  # fmt: skip


LIMITS = {
    "memory": {"limit": 1000, "swap": 3000},
    "cpu": {"quota": 50050, "period": 100000},
    "unified": {"memory.oom.group": "1"},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
    "devices": [{"allow": False, "access": "rwm"}],
}


def test_the_scope_is_started_with_init_in_it_and_limited_when_the_stub_waits():
    plan = planned(resources=LIMITS)
    path = f"{TOP}/a.slice/a-b.slice/c-d.scope"

    assert [] == lines(plan, "host")
    assert [
        "start scope c-d.scope at /a.slice/a-b.slice/c-d.scope with container init in it",
        f"enable cpu memory hugetlb for cgroup {path}",
    ] == lines(plan, "adopt")
    assert [
        f"set MemoryMax=1000 MemorySwapMax=2000 {CPU} of c-d.scope",
        f"write 2000 to memory.swap.max in {path}",
        f"write 1000 to memory.max in {path}",
        f"write 50050 100000 to cpu.max in {path}",
        f"write 5 to hugetlb.2MB.max in {path}",
        f"write 5 to hugetlb.2MB.rsvd.max in {path}",
        f"write 1 to memory.oom.group in {path}",
        f"attach a device filter (0 rules that allow) to {path}",
    ] == [line.replace("(10 rules", "(0 rules") for line in lines(plan, "limits")]
    assert (path,) == plan.cgroups
    assert f"c-d.scope {ADDRESS}" == plan.scope


def started(plan):
    return next(step for step in plan.phase("adopt") if isinstance(step, scope.StartScope))


def test_a_scope_has_these_properties():
    assert (
        ("Description", "s", "aisbx-runtime container one"),
        ("Slice", "s", "a-b.slice"),
        ("Delegate", "b", True),
        ("DefaultDependencies", "b", False),
        ("CollectMode", "s", "inactive-or-failed"),
        ("CPUAccounting", "b", True),
        ("MemoryAccounting", "b", True),
        ("IOAccounting", "b", True),
        ("TasksAccounting", "b", True),
    ) == started(planned()).properties


def test_an_annotation_adds_a_property_or_takes_the_place_of_ours():
    plan = planned(
        org__systemd__property__CollectMode="'inactive'", org__systemd__property__KillSignal="9"
    )
    found = started(plan).properties

    assert 1 == len([one for one in found if one[0] == "CollectMode"])
    assert (("CollectMode", "s", "inactive"), ("KillSignal", "i", 9)) == found[-2:]


def test_a_bad_annotation_is_refused_before_anything_is_made():
    with pytest.raises(SpecError, match="KillSignal"):
        planned(org__systemd__property__KillSignal="TERM")


def test_without_a_cgroup_namespace_too_the_scope_is_there_before_the_rootfs():
    config = base_config()
    config["linux"]["namespaces"].remove({"type": "cgroup"})
    spec = parse.spec_of(json.dumps(config), "config.json")
    plan = build(
        spec, hosts.UNIFIED, "one", "/bundle", Options("/cache", "systemd", systemd=SYSTEM)
    )

    assert started(plan)
    assert () == plan.phase("join")


def test_a_subgroup_is_where_init_and_its_limits_are():
    plan = planned(resources={"pids": {"limit": 5}}, run__oci__systemd__subgroup="container")
    path = f"{TOP}/a.slice/a-b.slice/c-d.scope/container"

    assert f"make cgroup {path} and move container init into it" == lines(plan, "adopt")[1]
    assert ["set TasksMax=5 of c-d.scope", f"write 5 to pids.max in {path}"] == lines(
        plan, "limits"
    )[:2]
    assert (path,) == plan.cgroups


def test_an_empty_subgroup_is_none():
    assert (f"{TOP}/a.slice/a-b.slice/c-d.scope",) == planned(
        run__oci__systemd__subgroup=""
    ).cgroups


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a\nb"])
def test_a_subgroup_is_one_name(name):
    with pytest.raises(SpecError, match="subgroup"):
        planned(run__oci__systemd__subgroup=name)


@pytest.mark.parametrize("host", [hosts.USER, hosts.ROOTLESS])
def test_a_limit_of_a_user_holds_or_create_fails(host):
    plan = planned(USER, host, resources={"pids": {"limit": 5}, "memory": {"limit": 1000}})
    writes = [step for step in plan.phase("limits") if hasattr(step, "settings")]

    assert 2 == len(writes)
    assert not any(step.optional for step in writes)
    with pytest.raises(HostError, match="cpu"):
        planned(USER, host, resources={"cpu": {"shares": 5}})


def test_without_a_systemd_there_is_no_plan():
    with pytest.raises(HostError, match="no systemd"):
        planned(systemd=None)


# ---- update --------------------------------------------------------------------------------------
def test_an_update_writes_files_then_properties_then_files():
    from aisbx_runtime.oci.plan import cgroup

    path = f"{TOP}/a.slice/a-b.slice/c-d.scope"
    resources = parse.resources_of('{"memory": {"limit": 7, "checkBeforeUpdate": true}}', "x")
    files = cgroup.update(resources, hosts.UNIFIED, (path,), "1.2.1")
    steps = scope.update(resources, files, f"c-d.scope {ADDRESS}", "1.2.1")

    assert [
        f"check that {path}/memory.current is not above 7",
        f"write 7 to memory.max in {path}",
        "set MemoryMax=7 of c-d.scope",
        f"write 7 to memory.max in {path}",
    ] == [step.describe() for step in steps]


def test_an_update_of_what_is_no_property_is_of_files_alone():
    from aisbx_runtime.oci.plan import cgroup

    path = f"{TOP}/c-d.scope"
    resources = parse.resources_of('{"unified": {"memory.oom.group": "1"}}', "x")
    files = cgroup.update(resources, hosts.UNIFIED, (path,), "1.2.1")

    assert files == scope.update(resources, files, f"c-d.scope {ADDRESS}", "1.2.1")
