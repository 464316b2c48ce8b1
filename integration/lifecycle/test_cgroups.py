"""cgroups: where the container is put, and limits that are really enforced, on v1 and v2."""

from __future__ import annotations

import os

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.leaks import cgroups

MEBI = 1 << 20


def places(pid):
    """Return the cgroups of a process: controllers -> path."""
    lines = host.text_of(f"/proc/{pid}/cgroup").split()
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}


@needs.cgroups
def test_init_is_in_its_cgroup_in_every_hierarchy(runtime, bundle):
    # conmon and the shim read the cgroups of init as soon as create has returned.
    container = runtime.create(bundle)
    own = places("self")
    found = places(container.pid)
    # On a hybrid host the unified hierarchy holds no controllers.
    found = {name: path for name, path in found.items() if (name == "") == host.unified()}

    assert {path.removesuffix(bundle.cgroup) for path in found.values()} <= {*own.values(), "", "/"}
    assert all(path.endswith(bundle.cgroup) for path in found.values())


@needs.cgroups
def test_an_absolute_path_is_below_the_root_of_the_hierarchy(runtime, bundle):
    container = runtime.create(bundle)
    procs = [f"{path}/cgroup.procs" for path in cgroups() if os.path.basename(path) == bundle.id]

    assert procs
    assert all(str(container.pid) in host.text_of(path).split() for path in procs if path)


def test_a_deep_path_is_made_and_its_leaf_removed(runtime, bundle):
    bundle.config["linux"]["cgroupsPath"] = f"{bundle.cgroup}/a"
    container = runtime.create(bundle).start()
    container.wait()
    container.delete().ok()
    left = {path for path in cgroups() if path.endswith("/a")}
    for path in cgroups():
        if os.path.basename(path) == bundle.id:
            os.rmdir(path)  # runc keeps the parent

    assert left == set()


@needs.cgroups
def test_a_container_without_a_path_has_a_cgroup_named_after_it(runtime, bundle):
    del bundle.config["linux"]["cgroupsPath"]
    container = runtime.create(bundle)

    assert any(path.endswith(f"/{bundle.id}") for path in places(container.pid).values())


def test_the_cgroups_are_gone_after_delete(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()
    container.delete().ok()

    assert cgroups() == set()


def test_a_path_with_dots_does_not_leave_the_hierarchy(runtime, bundle):
    bundle.config["linux"]["cgroupsPath"] = f"/../../../{bundle.id}"
    result = runtime.run(bundle, "true")

    assert result.code in {0, 1}
    assert not os.path.exists(f"/sys/fs/{bundle.id}")
    assert not os.path.exists(f"/sys/{bundle.id}")


@needs.controllers("memory")
def test_a_memory_limit_is_set(runtime, bundle):
    bundle.resources(memory={"limit": 64 * MEBI})
    container = runtime.started(bundle)
    path = places(container.pid).get("memory", places(container.pid).get(""))
    names = ("memory.limit_in_bytes", "memory.max")

    assert host.cgroup_file("memory", bundle.cgroup, *names) == str(64 * MEBI)
    assert path is not None


@needs.controllers("memory")
def test_more_memory_than_the_limit_kills_the_container(runtime, bundle):
    bundle.resources(memory={"limit": 16 * MEBI, "swap": 16 * MEBI})
    container = runtime.create(bundle.script("exec tail -c 200000000 /dev/zero")).start()

    assert container.wait() == 137


@needs.controllers("memory")
def test_run_returns_137_when_memory_runs_out(runtime, bundle):
    bundle.resources(memory={"limit": 16 * MEBI, "swap": 16 * MEBI})

    assert runtime.run(bundle, "exec tail -c 200000000 /dev/zero").code == 137


@needs.controllers("memory")
def test_memory_below_the_limit_is_no_matter(runtime, bundle):
    bundle.resources(memory={"limit": 64 * MEBI})

    assert runtime.run(bundle, "head -c 10000000 /dev/zero | tail -c 10000000 | wc -c").code == 0


@needs.controllers("memory")
def test_a_container_of_4_mib_runs_true(runtime, bundle):
    # The heap of the runtime must never be charged to the container.
    bundle.resources(memory={"limit": 4 * MEBI})
    result = runtime.run(bundle.args("/bin/true"))
    known_of_runc(runtime, "it needs more than 4 MiB itself", seen=result.code != 0)

    assert result.code == 0


@needs.controllers("memory")
@pytest.mark.parametrize(
    ("key", "v1", "v2"),
    [("reservation", "memory.soft_limit_in_bytes", "memory.low")],
)
def test_a_memory_reservation_is_set(runtime, bundle, key, v1, v2):
    bundle.resources(memory={"limit": 64 * MEBI, key: 32 * MEBI})
    runtime.started(bundle)

    assert host.cgroup_file("memory", bundle.cgroup, v1, v2) == str(32 * MEBI)


@needs.controllers("memory")
def test_unlimited_memory_is_no_failure(runtime, bundle):
    bundle.resources(memory={"limit": -1})

    assert runtime.run(bundle, "true").code == 0


@needs.controllers("pids")
def test_a_pids_limit_is_set(runtime, bundle):
    bundle.resources(pids={"limit": 20})
    runtime.started(bundle)

    assert host.cgroup_file("pids", bundle.cgroup, "pids.max", "pids.max") == "20"


@needs.controllers("pids")
def test_fork_fails_above_the_pids_limit(runtime, bundle):
    bundle.resources(pids={"limit": 20})
    script = "for i in $(seq 30); do sleep 1000 & done; echo all"
    result = runtime.run(bundle, script)

    assert "all" not in result.out
    assert "fork" in result.err


@needs.controllers("pids")
def test_as_many_processes_as_the_limit_allows_are_made(runtime, bundle):
    bundle.resources(pids={"limit": 20})

    assert runtime.run(bundle, "for i in $(seq 10); do sleep 1000 & done; echo all").out == "all\n"


@needs.controllers("pids")
@pytest.mark.parametrize("limit", [0, -1])
def test_a_pids_limit_that_is_not_positive_is_none(runtime, bundle, limit):
    bundle.resources(pids={"limit": limit})

    assert runtime.run(bundle, "for i in $(seq 5); do sleep 1000 & done; echo all").out == "all\n"


@needs.controllers("cpu")
def test_a_cpu_quota_is_set(runtime, bundle):
    bundle.resources(cpu={"quota": 20000, "period": 50000})
    runtime.started(bundle)
    if "cpu" in host.hierarchies():
        found = [
            host.cgroup_file("cpu", bundle.cgroup, name, "")
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        ]
    else:
        found = host.cgroup_file("cpu", bundle.cgroup, "", "cpu.max").split()

    assert found == ["20000", "50000"]


@needs.controllers("cpu")
def test_cpu_shares_are_set(runtime, bundle):
    bundle.resources(cpu={"shares": 512})
    runtime.started(bundle)
    # A weight is 20 by the old conversion of shares, 59 by the one of 2025 (1024 is 100 there).
    expected = {"512"} if "cpu" in host.hierarchies() else {"20", "59"}

    assert host.cgroup_file("cpu", bundle.cgroup, "cpu.shares", "cpu.weight") in expected


@needs.controllers("cpuset")
def test_a_cpuset_is_set(runtime, bundle):
    bundle.resources(cpu={"cpus": "0", "mems": "0"})
    result = runtime.run(bundle, "grep Cpus_allowed_list /proc/self/status")

    assert result.ok().out.split()[1] == "0"


@needs.controllers("cpuset")
def test_a_cpu_that_is_missing_is_a_failure(runtime, bundle):
    bundle.resources(cpu={"cpus": "5000"})

    assert runtime.run(bundle, "true").code != 0


def test_an_exec_is_in_the_cgroups_of_the_container(runtime, bundle):
    container = runtime.started(bundle)
    path = f"{bundle.path}/exec.pid"
    container.exec("/bin/sleep", "1000", flags=["--detach", "--pid-file", path]).ok()

    assert places(host.text_of(path)) == places(container.pid)


@needs.controllers("hugetlb")
def test_a_limit_of_huge_pages_is_set(runtime, bundle):
    size = "2MB"
    bundle.resources(hugepageLimits=[{"pageSize": size, "limit": 4 * MEBI}])
    result = runtime.try_create(bundle)
    if result.code:
        # A v1 or hybrid host whose hugetlb is only in the unified hierarchy.
        assert "hugetlb" in result.err
        return
    names = (f"hugetlb.{size}.limit_in_bytes", f"hugetlb.{size}.max")

    assert host.cgroup_file("hugetlb", bundle.cgroup, *names) == str(4 * MEBI)


@needs.cgroups
def test_a_limit_without_its_controller_is_an_error(runtime, bundle):
    missing = [name for name in ("rdma", "misc") if host.lacks_controller(name)]
    if "rdma" not in missing:
        pytest.skip("this host has every controller")
    bundle.resources(rdma={"mlx5_0": {"hcaHandles": 1}})
    result = runtime.run(bundle, "true")
    known_of_runc(runtime, "it drops limits it cannot enforce", seen=result.code == 0)

    assert result.code != 0
    assert "rdma" in result.err


@needs.cgroups
def test_a_cgroup_with_processes_in_it_is_refused(runtime, bundle, new_bundle):
    first = runtime.started(bundle)
    second = new_bundle()
    second.config["linux"]["cgroupsPath"] = bundle.cgroup
    result = runtime.try_create(second)
    known_of_runc(runtime, "1.1 only warns of a cgroup in use", seen=result.code == 0)

    assert result.code != 0
    assert first.status == "running"


def test_the_disabled_cgroup_manager_makes_no_cgroup(runtime, bundle):
    # podman --cgroups=disabled
    bundle.config["linux"].pop("cgroupsPath", None)
    del bundle.config["linux"]["resources"]
    bundle.script("true").save()
    runtime.made.append(bundle.id)
    argv = ["create", "--bundle", bundle.path, bundle.id]
    result = runtime("--cgroup-manager", "disabled", *argv)
    known_of_runc(runtime, "it has no --cgroup-manager", seen="not defined" in result.err)

    assert result.code == 0
    assert cgroups() == set()


@needs.cgroups
def test_a_unified_value_that_nobody_here_knows_is_written(runtime, bundle):
    if "" not in host.hierarchies():
        pytest.skip("no cgroup v2 is mounted")
    # A file of cgroup v2 itself: it is there on a hybrid host as well.
    bundle.resources(unified={"cgroup.max.depth": "3"})
    result = runtime.try_create(bundle)
    known_of_runc(runtime, "it takes unified on a unified host only", seen=result.code != 0)

    assert result.code == 0
    assert host.cgroup_file("", bundle.cgroup, *["cgroup.max.depth"] * 2) == "3"


@needs.cgroups
def test_a_unified_value_of_a_controller_that_is_not_there_is_an_error(runtime, bundle):
    bundle.resources(unified={"nosuch.max": "3"})
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert "nosuch" in result.err or runtime.name == "runc"


@needs.cgroups
def test_the_same_path_is_the_same_place_again(runtime, bundle):
    found = []
    for _ in range(2):
        container = runtime.create(bundle).start()
        found.append({path for path in cgroups() if path.endswith(bundle.cgroup)})
        container.wait()
        container.delete().ok()

    assert found[0] == found[1] != set()
