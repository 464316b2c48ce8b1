"""cgroup v2: containers in containers, in the cgroup and within the limits of the outer one.

The runtime under test is outside, inside, or both; runc is the other. What one leaves for the
other must be enough. The outer container has the programs of the host.
"""

from __future__ import annotations

import os
import shutil

import pytest

from aisbx_runtime.oci.spec.capabilities import NUMBERS
from integration import host, needs
from integration.conftest import ROOT
from integration.differences import known_of_runc
from integration.runtime import Runtime

TOP = "/sys/fs/cgroup"
RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin")
MEBI = 1 << 20
PROGRAMS = ("/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr")
INNER = "/mnt"  # where the outer container has the inner bundle
pytestmark = [needs.unified, needs.cgroups, needs.controllers("memory", "pids")]

# As the images and engines do that run containers in one; cgroups(7), "no internal processes".
MAKE_ROOM = """
mkdir {own}/room
for pid in $(cat {own}/cgroup.procs); do echo $pid >{own}/room/cgroup.procs; done 2>/dev/null
"""
RUN = """
{program} --root /run/inner run --bundle {bundle} inner || echo failed
ls -d {own}/*/ 2>/dev/null
"""
LOOK = "grep ^0: /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max pids.max"


def make_outer(bundle, inner, *, private=True):
    """Make a container in which containers can be made; return its cgroup as it sees it."""
    config = bundle.config
    names = sorted(NUMBERS, key=NUMBERS.__getitem__)[: host.last_capability() + 1]
    bundle.all_capabilities(*names).resources(devices=[{"allow": True, "access": "rwm"}])
    config["linux"].update(maskedPaths=[], readonlyPaths=[])
    for entry in config["mounts"]:
        if entry["type"] in {"cgroup", "sysfs"}:
            entry["options"] = [word for word in entry["options"] if word != "ro"]
    for path in (*PROGRAMS, ROOT):
        if os.path.isdir(path):
            os.makedirs(f"{bundle.rootfs}{path}", exist_ok=True)
            bundle.mount(path, "bind", path, "rbind", "ro")
    bundle.mount(INNER, "bind", inner.path, "rbind")
    if private:
        bundle.namespace("cgroup")
    return TOP if private else f"{TOP}{bundle.cgroup}"


def make_inner(bundle, cgroup):
    bundle.namespace("cgroup").script(LOOK)
    bundle.config["linux"]["cgroupsPath"] = cgroup
    bundle.resources(memory={"limit": 16 * MEBI}, pids={"limit": 7})
    return bundle


def look(outer_runtime, inner_program, outer, inner, *, private, room=True):
    """Run the inner container in the outer one; return what both have printed."""
    own = make_outer(outer, inner, private=private)
    make_inner(inner, "/inner" if private else f"{outer.cgroup}/inner").save()
    outer.resources(memory={"limit": 256 * MEBI}, pids={"limit": 99})
    script = (MAKE_ROOM if room else "") + RUN
    return outer_runtime.run(outer, script.format(own=own, program=inner_program, bundle=INNER))


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("which", ["both", "outside", "inside"])
def test_a_container_in_a_container_has_its_limits(runtime, bundle, new_bundle, which, private):
    if which != "both" and RUNC is None:
        pytest.skip("runc is not installed")
    outside = Runtime(RUNC, f"{bundle.path}/state") if which == "inside" else runtime
    inside = RUNC if which == "outside" else runtime.program
    result = look(outside, inside, bundle, new_bundle(), private=private)
    own = TOP if private else f"{TOP}{bundle.cgroup}"

    assert result.out == f"0::/\n{16 * MEBI}\n7\n{own}/room/\n"
    assert result.err == ""


def give(bundle, owner):
    """Give the bundle's directories to the root of a user namespace."""
    for path in (bundle.path, bundle.rootfs, *os.scandir(bundle.rootfs)):
        os.chown(path, owner, owner, follow_symlinks=False)


def test_a_delegated_cgroup_is_enough_for_a_container_with_limits(runtime, bundle, new_bundle):
    # The outer container is a user namespace: what its root may write in the cgroup was given it.
    inner = new_bundle()
    bundle.user_namespace()
    give(inner, 100000)
    result = look(runtime, runtime.program, bundle, inner, private=True)
    known_of_runc(
        runtime,
        "it gives cgroups to users with the systemd manager only",
        seen="failed" in result.out,
    )

    assert result.out == f"0::/\n{16 * MEBI}\n7\n{TOP}/room/\n"
    assert result.err == ""


def test_a_limit_where_no_room_was_made_is_refused(runtime, bundle, new_bundle):
    result = look(runtime, runtime.program, bundle, new_bundle(), private=True, room=False)

    assert "failed" in result.out
    assert "memory" in result.err or "threaded" in result.err or "invalid state" in result.err
    assert f"{TOP}/inner/" not in result.out


def test_a_container_in_a_container_without_limits_needs_no_room(runtime, bundle, new_bundle):
    inner = new_bundle()
    own = make_outer(bundle, inner)
    inner.namespace("cgroup").script("grep ^0: /proc/self/cgroup")
    inner.config["linux"]["cgroupsPath"] = "/inner"
    inner.save()
    script = RUN.format(own=own, program=runtime.program, bundle=INNER)
    result = runtime.run(bundle, f"{script}true")

    assert result.out.splitlines()[0] == "0::/"
    assert "failed" not in result.out
