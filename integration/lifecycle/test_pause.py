"""`pause` and `resume`."""

from __future__ import annotations

import os
import select

import pytest

from integration import needs

# The freezer is a cgroup controller, or a file of the unified hierarchy.
pytestmark = needs.cgroups

TICK = "echo ready; while :; do echo tick; usleep 20000; done"


@pytest.fixture
def ticking(runtime, bundle):
    """A container that writes all the time, and the pipe it writes to."""
    read_fd, write_fd = os.pipe()
    container = runtime.started(bundle, TICK, stdout=write_fd)
    os.close(write_fd)
    assert os.read(read_fd, 6) == b"ready\n"
    yield container, read_fd
    os.close(read_fd)


def drain(fd):
    os.set_blocking(fd, False)
    try:
        while os.read(fd, 65536):
            pass
    except BlockingIOError:
        pass
    finally:
        os.set_blocking(fd, True)


def test_a_paused_container_does_nothing(ticking):
    container, fd = ticking
    container.verb("pause").ok()
    drain(fd)

    assert select.select([fd], [], [], 0.2)[0] == []


def test_a_paused_container_says_so(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("pause").ok()

    assert container.status == "paused"


def test_a_resumed_container_goes_on(ticking):
    container, fd = ticking
    container.verb("pause").ok()
    drain(fd)
    container.verb("resume").ok()

    assert os.read(fd, 4) == b"tick"
    assert container.status == "running"


def test_pause_and_resume_are_silent(runtime, bundle):
    container = runtime.started(bundle)
    results = [container.verb("pause"), container.verb("resume")]

    assert [(done.code, done.out, done.err) for done in results] == [(0, "", "")] * 2


def test_resume_of_a_running_container_is_refused(runtime, bundle):
    assert runtime.started(bundle).verb("resume").code == 1


def test_pause_of_a_stopped_container_is_refused(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()

    assert container.verb("pause").code == 1


def test_a_paused_container_is_not_deleted_without_force(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("pause").ok()

    assert container.delete().code == 1
    assert container.status == "paused"


def test_delete_force_removes_a_paused_container(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("pause").ok()
    container.delete("--force").ok()

    assert container.wait() == 137


def test_a_paused_container_is_killed_by_sigkill(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("pause").ok()
    container.kill("KILL").ok()

    assert container.wait() == 137


def test_every_process_is_paused(runtime, bundle):
    container = runtime.ready(bundle, "sleep 1000 & echo ready; wait")
    container.verb("pause").ok()

    assert container.status == "paused"
    assert runtime("ps", "-f", "json", bundle.id).code == 0
    container.verb("resume").ok()
