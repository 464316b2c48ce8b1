"""podman: many containers started by processes at once, and a podman or conmon that is killed.

AISBX_LOAD_CONTAINERS is how many; `make test-load` has 200, the ordinary suites a few.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time

import pytest

from integration import leaks
from integration.engines.podman import IMAGE, SLOW_S
from integration.runtime import call

CONTAINERS = int(os.environ.get("AISBX_LOAD_CONTAINERS") or 12)
PROCESSES = 8
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def begin(podman, *words):
    argv = podman.argv("run", "--network", "none", *words)
    return subprocess.Popen(argv, env=podman.environment, **QUIET)


def in_parallel(podman, count, *words):
    """Run `podman run WORDS` so many times, some at once; return the exit codes."""
    running, codes = [], []
    for number in range(count):
        if len(running) == PROCESSES:
            codes.append(running.pop(0).wait(SLOW_S))
        running.append(begin(podman, "--name", f"load-{number}", *words))
    return codes + [process.wait(SLOW_S) for process in running]


def names(podman, *words):
    return podman("ps", "--format", "{{.Names}}", *words).ok().lines


def test_many_containers_are_started_at_once(podman):
    codes = in_parallel(podman, CONTAINERS, "-d", IMAGE, "sleep", "100000")
    running = names(podman)
    done = podman("exec", f"load-{CONTAINERS - 1}", "echo", "hi")
    podman("rm", "--force", "--all", "--time", "0", timeout=SLOW_S * 10).ok()

    assert codes == [0] * CONTAINERS
    assert sorted(running) == sorted(f"load-{number}" for number in range(CONTAINERS))
    assert done.out == "hi\n"


def test_many_containers_run_to_their_ends_at_once(podman):
    codes = in_parallel(podman, CONTAINERS, "--rm", IMAGE, "sh", "-c", "exit 3")

    assert codes == [3] * CONTAINERS
    assert names(podman, "--all") == []


def delete_the_rest(program):
    """Delete what the engine does not know of, as a person would."""
    for name in call([program, "list", "--quiet"]).ok().lines:
        call([program, "delete", "--force", name]).ok()


# Fractions of the time that a whole run takes here.
@pytest.mark.parametrize("moment", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_what_a_killed_podman_leaves_can_be_removed(podman, program, moment):
    whole = begin(podman, "--rm", IMAGE, "true")
    before = os.times().elapsed
    assert whole.wait(SLOW_S) == 0
    took_s = os.times().elapsed - before
    killed = begin(podman, IMAGE, "sleep", "100000")
    pidfd = os.pidfd_open(killed.pid)
    select.select([pidfd], [], [], took_s * moment)
    os.close(pidfd)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    podman("rm", "--force", "--all", "--time", "0").ok()
    # Between `create` and `start` podman has not yet written down that there is a container.
    delete_the_rest(program)

    assert names(podman, "--all") == []
    assert podman.run(IMAGE, "echo", "hi").ok().out == "hi\n"


def test_a_container_without_its_conmon_can_be_removed(podman, program, expected_processes):
    container = podman.up()
    conmon = int(podman.inspect(container, "{{.State.ConmonPid}}"))
    os.kill(conmon, signal.SIGKILL)

    argv = podman.argv("rm", "--force", "--time", "0", container)
    removal = subprocess.Popen(argv, env=podman.environment, **QUIET)
    pidfd = os.pidfd_open(removal.pid)
    deadline = time.monotonic() + SLOW_S
    while not select.select([pidfd], [], [], 0.05)[0] and time.monotonic() < deadline:
        # Its init is ours to reap now, as it would be the first process's of a host.
        leaks.reap(expected_processes | {removal.pid})
    os.close(pidfd)

    # podman learns of the end of init from conmon only, and forgets to call `delete`.
    delete_the_rest(program)

    assert removal.wait(0) == 0
    assert names(podman, "--all") == []
