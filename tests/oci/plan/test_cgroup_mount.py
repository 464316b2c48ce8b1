"""A mount of type `cgroup`: which steps it takes."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.host import Hierarchy, Host
from aisbx_runtime.oci.plan import cgroup, cgroup_mount
from aisbx_runtime.oci.spec.model import Linux, Mount, Namespace, Root, Spec
from tests.oci.plan.test_cgroup import BASE, HYBRID, UNIFIED, host, lines, v1

RO = ("rprivate", "nosuid", "noexec", "nodev", "relatime", "ro")


def steps(machine: Host, *, private: bool, options: tuple[str, ...] = RO, manager="cgroupfs"):
    namespaces = (Namespace("cgroup"),) if private else ()
    linux = Linux(cgroups_path="/a/b", namespaces=namespaces)
    spec = Spec("1.2.0", Root("rootfs"), linux=linux)
    entry = Mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
    return cgroup_mount.steps(3, entry, spec, machine, cgroup.plan(spec, machine, "id", manager))


SHOWN = "(ro, nosuid, nodev, noexec)"


@pytest.mark.parametrize("private", [False, True])
def test_on_v2_it_is_one_mount(private):
    assert [f"mount cgroup2 at /sys/fs/cgroup {SHOWN}, or a bind of {BASE}/a/b"] == lines(
        steps(UNIFIED, private=private)
    )


def test_on_v1_without_a_namespace_own_cgroups_are_bound():
    assert [
        "mount tmpfs at /sys/fs/cgroup (nosuid, nodev, noexec, mode=755)",
        f"take cgroup {BASE}/cpu/a/b",
        f"bind {BASE}/cpu/a/b at /sys/fs/cgroup/cpu {SHOWN}",
        "link /sys/fs/cgroup/cpuacct to cpu",
        f"take cgroup {BASE}/memory/a/b",
        f"bind {BASE}/memory/a/b at /sys/fs/cgroup/memory {SHOWN}",
        "make the mount /sys/fs/cgroup read-only",
    ] == lines(steps(host(v1("cpu", "cpuacct"), v1("memory")), private=False))


def test_on_v1_with_a_namespace_hierarchies_are_mounted():
    assert [
        "mount tmpfs at /sys/fs/cgroup (mode=755)",
        "mount cgroup at /sys/fs/cgroup/cpu (cpu, cpuacct)",
        "link /sys/fs/cgroup/cpuacct to cpu",
        "mount cgroup at /sys/fs/cgroup/systemd (none, name=systemd)",
    ] == lines(steps(host(v1("cpu", "cpuacct"), v1("name=systemd")), private=True, options=("rw",)))


def test_controllers_of_one_directory_are_linked_to_it():
    machine = host(Hierarchy(1, ("cpu", "cpuacct"), f"{BASE}/cpu,cpuacct", "/", "/"))

    assert [
        "link /sys/fs/cgroup/cpu to cpu,cpuacct",
        "link /sys/fs/cgroup/cpuacct to cpu,cpuacct",
    ] == [line for line in lines(steps(machine, private=False)) if line.startswith("link")]


def test_on_a_hybrid_host_the_unified_hierarchy_is_among_them():
    found = lines(steps(HYBRID, private=True))

    assert (
        f"mount cgroup2 at /sys/fs/cgroup/unified {SHOWN}, or a bind of {BASE}/unified/a/b" in found
    )


def test_without_a_cgroup_of_its_own_it_sees_the_runtimes():
    machine = host(v1("memory", own="/agent/1"))

    assert f"take cgroup {BASE}/memory/agent/1" in lines(
        steps(machine, private=False, manager="disabled")
    )


def test_an_option_that_no_cgroup_mount_has_is_refused():
    with pytest.raises(SpecError) as caught:
        steps(HYBRID, private=False, options=("size=5",))

    assert "mounts[3].options" in caught.value.what


def sources(machine, *, private):
    linux = Linux(cgroups_path="/a/b", namespaces=(Namespace("cgroup"),) if private else ())
    spec = Spec("1.2.0", Root("rootfs"), linux=linux)
    entry = Mount("/sys/fs/cgroup", "cgroup", "cgroup", RO)
    return cgroup_mount.sources(entry, spec, machine, cgroup.plan(spec, machine, "id", "cgroupfs"))


def test_a_restore_binds_what_create_mounts():
    top = UNIFIED.hierarchies[0].mount_point

    assert [("/sys/fs/cgroup", top)] == sources(UNIFIED, private=False)
    assert [("/sys/fs/cgroup", f"{BASE}/a/b")] == sources(UNIFIED, private=True)
    assert sources(HYBRID, private=False) == sources(HYBRID, private=True)
    assert {one.mount_point for one in HYBRID.hierarchies} == {
        source.removesuffix("/a/b") for _, source in sources(HYBRID, private=True)
    }
