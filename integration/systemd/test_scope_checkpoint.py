"""checkpoint and restore of a scope: a new unit of the same name, with its properties."""

from __future__ import annotations

import json

import pytest

from integration.checkpoints import Checkpoints
from integration.systemd import units
from integration.systemd.units import annotate, cgroup_of, cgroup_of_bundle, shown, unit_of

# On a hybrid host criu would have the hierarchies of v1 as well, which a scope does not have.
CGROUPS = "--manage-cgroups-mode=ignore"


@pytest.fixture
def checkpoints(runtime, bundle, bin_directory, expected_processes):
    yield Checkpoints(runtime, bundle, bin_directory)
    # A counter writes while its bundle is removed.
    runtime.clean(expected_processes)


def there_and_back(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint(CGROUPS).ok()
    container.wait()
    before = checkpoints.number()
    left = units.left()
    restored = checkpoints.restored(CGROUPS)

    assert left == set()
    assert checkpoints.counts_on()
    assert before < checkpoints.number() < before + 1000
    return restored


def test_a_restored_container_is_in_a_scope_of_its_name(checkpoints, bundle):
    restored = there_and_back(checkpoints)

    assert cgroup_of(restored.pid) == cgroup_of_bundle(bundle)
    assert shown(unit_of(bundle), "ActiveState") == {"ActiveState": "active"}


def test_a_restored_scope_has_its_properties_and_limits(checkpoints, bundle):
    annotate(bundle, TimeoutStopUSec="uint64 123000000", CollectMode="'inactive-or-failed'")
    bundle.resources(unified={"cgroup.max.descendants": "7"})
    there_and_back(checkpoints)

    assert shown(unit_of(bundle), "TimeoutStopUSec") == {"TimeoutStopUSec": "2min 3s"}
    assert units.value(cgroup_of_bundle(bundle), "cgroup.max.descendants") == "7"


def test_verbs_find_the_restored_scope(checkpoints, bundle):
    restored = there_and_back(checkpoints)
    restored.verb("pause").ok()
    frozen = units.value(cgroup_of_bundle(bundle), "cgroup.events")
    restored.verb("resume").ok()
    assert restored.exec("cat", "/proc/self/cgroup").ok().out
    pids = json.loads(checkpoints.runtime("ps", "--format", "json", restored.id).ok().out)
    restored.delete("--force").ok()

    assert "frozen 1" in frozen
    assert restored.pid in pids
    assert units.listed() == set()


def test_a_container_that_is_left_running_keeps_its_scope(checkpoints, bundle):
    container = checkpoints.started()
    checkpoints.checkpoint(CGROUPS, "--leave-running").ok()

    assert cgroup_of(container.pid) == cgroup_of_bundle(bundle)
    assert checkpoints.counts_on()


def test_a_restore_that_fails_leaves_no_unit(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint(CGROUPS).ok()
    container.wait()
    with open(f"{checkpoints.image}/pstree.img", "w") as text:
        text.write("spoilt")

    assert checkpoints.restore(CGROUPS).code != 0
    assert units.left() == set()


def test_a_scope_of_that_name_in_use_is_refused(checkpoints, bundle, new_scope):
    other = new_scope()
    other.config["linux"]["cgroupsPath"] = bundle.config["linux"]["cgroupsPath"]
    container = checkpoints.started()
    checkpoints.checkpoint(CGROUPS).ok()
    container.wait()
    running = checkpoints.runtime.started(other)
    result = checkpoints.restore(CGROUPS)

    assert result.code != 0
    assert running.status == "running"
    assert cgroup_of(running.pid) == cgroup_of_bundle(bundle)
