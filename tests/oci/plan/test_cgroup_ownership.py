"""config-linux.md, "Cgroup ownership": when the cgroup is given to the container's user."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.plan import cgroup
from aisbx_runtime.oci.spec.model import (
    IdMapping,
    Linux,
    Mount,
    Namespace,
    Process,
    Root,
    Spec,
    User,
)
from tests.oci.plan.test_cgroup import BASE, HYBRID, UNIFIED, host, lines, v1, v2

MAPPING = (IdMapping(0, 100000, 65536),)
BOTH = (Namespace("user"), Namespace("cgroup"))
WRITABLE = ("nosuid", "rw")


def given(
    machine=UNIFIED, *, uid=0, namespaces=BOTH, mappings=MAPPING, options=WRITABLE
) -> list[str]:
    spec = Spec(
        "1.2.0",
        Root("rootfs"),
        process=Process(("sh",), "/", user=User(uid=uid)),
        mounts=(Mount("/sys/fs/cgroup", "cgroup", "cgroup", options),),
        linux=Linux(cgroups_path="/a", namespaces=namespaces, uid_mappings=mappings),
    )
    found = lines(cgroup.plan(spec, machine, "id", "cgroupfs").early)
    return [line for line in found if line.startswith("give")]


def test_a_writable_cgroup_belongs_to_the_containers_user():
    assert [f"give cgroup {BASE}/a to uid 100005"] == given(uid=5)


def test_on_a_hybrid_host_only_the_unified_one_is_given():
    assert [f"give cgroup {BASE}/unified/a to uid 100000"] == given(HYBRID)


def test_without_a_user_namespace_ids_are_the_same():
    assert [f"give cgroup {BASE}/a to uid 7"] == given(
        uid=7, namespaces=(Namespace("cgroup"),), mappings=()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"options": ("ro",)},
        {"namespaces": (Namespace("user"),)},
        {"namespaces": (Namespace("user"), Namespace("cgroup", "/proc/1/ns/cgroup"))},
        {"namespaces": (Namespace("user", "/proc/1/ns/user"), Namespace("cgroup")), "mappings": ()},
        {"namespaces": (Namespace("cgroup"),), "mappings": ()},
        {"uid": 65536},
        {"machine": host(v1("memory"))},
        {"machine": host(v2(), euid=1000)},
    ],
)
def test_otherwise_nothing_is_given(changes):
    assert given(**changes) == []
