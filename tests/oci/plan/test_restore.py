"""The plan of a restore: what is made beside criu, and in which order."""

from __future__ import annotations

import os

from aisbx_runtime.oci.plan import cgroup, restore
from aisbx_runtime.oci.plan.build import Options
from aisbx_runtime.oci.spec import parse
from tests.oci.plan.test_cgroup import HYBRID, UNIFIED

HERE = os.path.dirname(os.path.abspath(__file__))
ENGINE = f"{HERE}/../../golden/podman5/config.json"


def plan_of(machine=UNIFIED, *, change=lambda text: text, **options):
    with open(ENGINE) as file:
        spec = parse.spec_of(change(file.read()), "config.json")
    cgroups = cgroup.plan(spec, machine, "c", "cgroupfs")
    wanted = Options(cache_dir="/cache", **options)
    return restore.build(
        spec, "/bundle", wanted, cgroups, container_id="c", directory="/run/aisbx/c"
    )


def lines(plan, phase):
    return [step.describe() for step in plan.phase(phase)]


def test_the_phases_are_in_the_order_of_their_use():
    assert [
        "host", "mount points", "adopt", "criu", "network", "hooks", "flags", "limits",
    ] == [phase.name for phase in plan_of().phases]  # fmt: skip


def test_criu_finds_the_rootfs_where_only_it_looks():
    said = lines(plan_of(), "criu")

    assert "join a new session keyring" == said[0]
    assert "make a mount namespace that only criu uses" == said[1]
    assert said[2].endswith("at /run/aisbx/c/criu-root")


def test_the_callers_keyring_is_kept_when_asked_for():
    assert "join a new session keyring" not in lines(plan_of(no_new_keyring=True), "criu")


def test_every_mount_but_the_cgroups_is_made_to_have_its_mount_point():
    said = lines(plan_of(), "mount points")

    assert any(line.startswith("mount proc at /proc") for line in said)
    assert any(line.startswith("bind ") for line in said)
    assert not [line for line in said if "cgroup" in line]


def test_flags_of_bind_mounts_and_masks_are_set_again():
    said = lines(plan_of(), "flags")

    assert "enter the new mount namespace" == said[0]
    assert any("/etc/hosts" in line for line in said)
    assert "set the flags of the mount at /proc/kcore (ro, nosuid, noexec)" in said


def test_limits_and_cgroups_are_those_of_create():
    for machine in (UNIFIED, HYBRID):
        with open(ENGINE) as file:
            spec = parse.spec_of(file.read(), "config.json")
        cgroups = cgroup.plan(spec, machine, "c", "cgroupfs")
        plan = plan_of(machine)

        assert cgroups.limits == plan.phase("limits")
        assert [*cgroups.early] == [step for step in plan.phase("host") if step in cgroups.early]


def test_a_new_network_namespace_gets_what_criu_leaves_out():
    said = lines(plan_of(), "network")

    assert ["enter the new network namespace", "bring up the loopback interface"] == said[1:3]
    assert {"set net.ipv4.ping_group_range = 0 0"} == set(said[3:])


def test_a_joined_network_namespace_is_left_as_it_is():
    def join(text):
        return text.replace('"type": "network"', '"type": "network", "path": "/ns"')

    assert [] == lines(plan_of(change=join), "network")
    assert ["open the network namespace /ns"] == lines(plan_of(change=join), "host")[:1]
