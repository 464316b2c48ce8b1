"""Lives of containers, one after the other, by the hundred: what each leaves adds up here.

AISBX_LOAD_CYCLES is how many; `make test-load` has 1000, the ordinary suites a few.
"""

from __future__ import annotations

import os
import time

import pytest

from integration import host, leaks, needs
from integration.differences import known_of_runc
from integration.runtime import TIMEOUT_S, Container

CYCLES = int(os.environ.get("AISBX_LOAD_CYCLES") or 12)
WARM = 2  # the first ones fill caches
MEBI = 1 << 20


def files(root):
    """Return every path below a state root with its size."""
    return {
        f"{parent}/{name}": os.lstat(f"{parent}/{name}").st_size
        for parent, _, names in os.walk(root)
        for name in names
    }


def everything(runtime):
    """Return what may have grown: our mounts, cgroups, processes, descriptors, state in bytes."""
    return {
        "mounts": leaks.mounts(),
        "cgroups": leaks.cgroups(),
        "processes": set(leaks.descendants()),
        "descriptors": sorted(os.listdir("/proc/self/fd"))[:-1],  # the last one lists them
        "state": files(runtime.root),
    }


def open_files(pid):
    """Return what a process that was created holds open, once it waits.

    When create returns, its last words to create may have been sent on a socket not closed yet.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while host.text_of(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] != "S":
        assert time.monotonic() < deadline, "it does not come to wait"
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


def plain(bundle):
    return bundle


def rich(bundle):
    """Have something of everything that must be undone."""
    bundle.user_namespace().namespace("cgroup")
    if not host.lacks_namespace("--time"):
        bundle.namespace("time")
    bundle.mount("/scratch", "tmpfs", "tmpfs", "size=1m")
    bundle.hook("poststop", "/bin/true")
    if not host.lacks_controller("memory"):
        bundle.resources(memory={"limit": 64 * MEBI})
    return bundle


@needs.cgroups
@pytest.mark.parametrize("made_of", [plain, rich])
def test_nothing_adds_up(runtime, bundle, expected_processes, made_of):
    made_of(bundle).script("exec true")
    before, waiting = {}, []
    for number in range(CYCLES):
        result = runtime.try_create(bundle)
        known_of_runc(runtime, "1.1 has no time namespaces", seen='"time' in result.message)
        container = Container(runtime, bundle)
        waiting.append(len(open_files(container.pid)))
        container.start()
        container.wait()
        container.delete().ok()
        del container  # and its pidfd
        if number == WARM - 1:
            before = everything(runtime)
    leaks.wait_for_end(expected_processes)

    assert everything(runtime) == before
    assert len(set(waiting)) == 1
    assert runtime("list", "--quiet").ok().out == ""


@needs.cgroups
def test_nothing_adds_up_of_containers_that_are_killed(runtime, bundle, expected_processes):
    before = {}
    for number in range(CYCLES):
        container = runtime.ready(bundle, "sleep 1000 & echo ready; wait")
        container.exec("/bin/true").ok()
        container.delete("--force").ok()
        container.wait()
        del container  # and its pidfd
        if number == WARM - 1:
            before = everything(runtime)
    leaks.wait_for_end(expected_processes)

    assert everything(runtime) == before


def test_nothing_adds_up_of_creates_that_fail(runtime, bundle, expected_processes):
    bundle.args("/no/such/program")
    before = {}
    for number in range(CYCLES):
        assert runtime.try_create(bundle).code != 0
        if number == WARM - 1:
            before = everything(runtime)
    leaks.wait_for_end(expected_processes)

    assert everything(runtime) == before
