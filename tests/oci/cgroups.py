"""Cgroups for tests on the kernel that runs them: v1, hybrid or v2, whichever is mounted.

Every test works below a parent of its own, and skips what this kernel has no controller for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from aisbx_runtime.oci import cgroup as live
from aisbx_runtime.oci import host as host_facts
from aisbx_runtime.oci.plan import cgroup, cgroup_places, cgroup_steps
from aisbx_runtime.oci.spec.model import Device, DeviceRule, Linux, Resources, Root, Spec

MIB = 1 << 20
DENY_ALL = DeviceRule(allow=False, type="a", major=None, minor=None, access="rwm")
HOST = host_facts.detect()
PARENT = f"/aisbx-test-{os.getpid()}"


class World:
    """What steps of cgroups need of plan.step.World."""

    def __init__(self):
        self.pid = 0
        self.cgroup_fd = -1
        self.owned: list[str] = []

    def own(self, kind: str, path: str) -> None:
        assert kind == "cgroup"
        assert not os.path.exists(path)
        self.owned.append(path)


class Container:
    """Children in cgroups that were made, joined and limited as create does it."""

    def __init__(self, resources: Resources | None = None, devices: tuple[Device, ...] = ()):
        linux = Linux(cgroups_path=f"{PARENT}/c", resources=resources, devices=devices)
        self.plan = cgroup.plan(Spec("1.2.0", Root("r"), linux=linux), HOST, "c", "cgroupfs")
        self.paths = self.plan.paths
        self.world = World()
        self.children: list[subprocess.Popen[str]] = []
        for step in self.plan.early:
            step.apply(self.world)

    def join(self) -> None:
        for step in self.plan.join:
            step.apply(self.world)
        for path in self.paths:
            # create clones into the cgroup v2; a child of subprocess is moved.
            if path not in [step.path for step in self.plan.join]:
                cgroup_steps.JoinCgroup("", path).apply(self.world)

    def limit(self) -> None:
        for step in self.plan.limits:
            step.apply(self.world)

    def start(self, code: str) -> subprocess.Popen[str]:
        """Run Python in the cgroups; it waits until they are limited."""
        source = "import os, sys\nsys.stdin.readline()\n" + textwrap.dedent(code)
        child = subprocess.Popen(
            [sys.executable, "-IS", "-c", source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self.children.append(child)
        self.world.pid = child.pid
        self.join()
        self.limit()
        child.stdin.write("\n")
        return child

    def run(self, code: str) -> tuple[int, str]:
        child = self.start(code)
        output, _ = child.communicate()
        return child.returncode, output

    def close(self) -> None:
        if self.world.cgroup_fd >= 0:
            os.close(self.world.cgroup_fd)
        live.kill(self.paths, signal.SIGKILL)
        for child in self.children:
            child.kill()
            child.communicate()
        live.remove(self.paths)


def place(controller: str) -> cgroup_places.Place:
    """Return where the controller is; skip when it is nowhere."""
    places = cgroup_places.places_of(f"{PARENT}/c", HOST, "c")
    found = cgroup_places.place_of(controller, places)
    if found is None:
        pytest.skip(f"no {controller} controller is mounted")
    return found


def read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def v2_place() -> cgroup_places.Place:
    found = [one for one in cgroup_places.places_of(f"{PARENT}/c", HOST, "c") if one.version == 2]
    if not found:
        pytest.skip("no cgroup v2 is mounted")
    return found[0]


def apply_update(one: Container, resources: Resources) -> None:
    for step in cgroup.update(resources, HOST, one.paths, "1.2.0"):
        step.apply(one.world)


def remove_all() -> None:
    for hierarchy in HOST.hierarchies:
        live.remove((f"{hierarchy.mount_point}{PARENT}",))
