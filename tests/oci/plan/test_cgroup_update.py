"""What `update` writes; pure."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.plan import cgroup
from aisbx_runtime.oci.spec.model import HugepageLimit, Memory, Resources
from tests.oci.plan.test_cgroup import (
    BASE,
    DENY_ALL,
    HYBRID,
    MEMORY_PAIR,
    UNIFIED,
    host,
    lines,
    plan,
    v2,
)


def test_update_writes_only_what_is_given():
    paths = plan(HYBRID).paths
    steps = cgroup.update(Resources(memory=Memory(limit=100, swap=200)), HYBRID, paths, "1.0.2")

    assert [MEMORY_PAIR] == lines(steps)


@pytest.mark.parametrize(
    ("machine", "file"),
    [(UNIFIED, f"{BASE}/a/b/memory.current"), (HYBRID, f"{BASE}/memory/a/b/memory.usage_in_bytes")],
)
def test_update_checks_the_usage_first_when_asked_to(machine, file):
    resources = Resources(memory=Memory(limit=5, check_before_update=True))
    steps = cgroup.update(resources, machine, plan(machine).paths, "1.0.2")

    assert f"check that {file} is not above 5" == steps[0].describe()


def test_update_does_not_touch_devices():
    resources = Resources(devices=(DENY_ALL,))

    assert cgroup.update(resources, UNIFIED, plan(UNIFIED).paths, "1.0.2") == ()


def test_update_knows_the_innermost_mount_of_a_path():
    (step,) = cgroup.update(
        Resources(hugepage_limits=(HugepageLimit("2MB", 4),)),
        host(v2(has=("pids",)), v2(f"{BASE}/unified", has=("hugetlb",))),
        (f"{BASE}/unified/a",),
        "1.0.2",
    )[:1]

    assert f"{BASE}/unified/a" == step.directory


def test_update_of_a_cgroup_that_is_mounted_no_more_is_refused():
    with pytest.raises(HostError):
        cgroup.update(Resources(), UNIFIED, ("/elsewhere/a",), "1.0.2")
