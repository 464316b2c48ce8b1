"""Both guests start, are what they say, pass through what they should, and leave nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from integration import leaks
from integration.lab import guest, machine
from integration.runtime import call

pytestmark = pytest.mark.lab
START_S = 120  # ten times what it takes on a busy machine


# `own` starts as `systemd` does, and is left to who changes it: AISBX_LAB_GUESTS=own.
GUESTS = os.environ.get("AISBX_LAB_GUESTS", "host systemd").split()


@pytest.fixture(params=GUESTS, autouse=True)
def name(request) -> str:
    reason = machine.lacks(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


def words(name: str, *command: str, flags: tuple[str, ...] = ()) -> list[str]:
    lab = [sys.executable, "-B", "-m", "integration.lab", "run", "--guest", name]
    return [*lab, "--timeout", str(START_S), *flags, "--", *command]


def lab(name: str, *command: str, flags: tuple[str, ...] = ()):
    argv = words(name, *command, flags=flags)
    return call(argv, cwd=machine.CHECKOUT, env=dict(os.environ), timeout=900)


def sh(name: str, script: str, *flags: str):
    return lab(name, "sh", "-c", script, flags=("--no-build", *flags))


def test_a_guest_has_unified_cgroups_with_their_controllers(name):
    script = "stat -fc %T /sys/fs/cgroup; grep -c ' cgroup ' /proc/mounts; "
    done = sh(
        name, script + "echo $(cat /sys/fs/cgroup/cgroup.subtree_control); cat /proc/1/comm"
    ).ok()
    kind, of_v1, controllers, init = done.lines

    assert ("cgroup2fs", "0") == (kind, of_v1)
    assert name == "own" or {"cpu", "io", "memory", "pids"} <= set(controllers.split())
    assert (init == "systemd") == (name != "host")


def test_the_exit_status_and_the_output_come_through(name):
    done = sh(name, "id -u; pwd; printf 'a\\n\\tb'; printf error >&2; exit 37")

    assert (37, f"0\n{machine.CHECKOUT}\na\n\tberror") == (done.code, done.out)


def test_long_output_comes_through_whole(name):
    done = sh(name, "busybox seq 1 50000").ok()

    assert [str(number) for number in range(1, 50001)] == done.lines


def test_what_a_guest_writes_stays_in_it(name, scratch):
    kept, lost = f"{scratch}/kept-{name}", f"{machine.CHECKOUT}/lost-{name}"
    os.mkdir(kept)
    script = f"echo x >{lost} && echo y >{kept}/file && cat {lost} {kept}/file"
    done = sh(name, script, "--write", kept).ok()

    assert ["x", "y"] == done.lines
    assert not os.path.exists(lost)
    with open(f"{kept}/file") as text:
        assert "y\n" == text.read()


def test_a_command_that_takes_too_long_is_ended(name, expected_processes):
    done = sh(name, "echo begun; exec sleep 1000", "--timeout", "12")

    assert guest.TIMED_OUT == done.code
    assert {} == leaks.wait_for_end(expected_processes)


def test_the_end_of_the_caller_is_the_end_of_the_guest(name, expected_processes):
    with subprocess.Popen(
        words(name, "sh", "-c", "echo begun; exec sleep 1000"),
        cwd=machine.CHECKOUT,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        while process.stdout.readline() not in {b"begun\n", b""}:
            pass
        process.kill()

    assert {} == leaks.wait_for_end(expected_processes)


def test_a_container_has_its_limit(name, bundle, program):
    if name == "own":
        pytest.skip("a hybrid host has no limit of memory in its unified cgroups")
    bundle.resources(memory={"limit": 32 << 20})
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    bundle.namespace("cgroup").script("cat /sys/fs/cgroup/memory.max").save()
    command = (program, "run", "--bundle", bundle.path, bundle.id)
    done = lab(name, *command, flags=("--write", bundle.path))

    assert (0, [f"{32 << 20}"]) == (done.code, done.lines[-1:]), done  # runc warns first
