"""Docker's experimental checkpoints, by a real criu."""

from __future__ import annotations

import time

import pytest

from integration import host
from integration.checkpoints import counter_of
from integration.engines.docker import CGROUP, IMAGE, SLOW_S, serving


@pytest.fixture(scope="module")
def docker_session(image_tar, scratch, program, bin_directory):
    with serving(f"{scratch}/docker", image_tar, program, experimental=True) as made:
        # Docker mounts the host's network namespace for the first container that shares it.
        made("run", "--rm", "--network=host", IMAGE, "true").ok()
        yield made
    host.remove_cgroups(CGROUP.removeprefix("/"))


@pytest.fixture
def docker(docker_session, _no_leaks):
    yield docker_session
    docker_session.clean()
    for top in set(host.hierarchies().values()):
        _no_leaks.cgroups.add(f"{top}{CGROUP}")  # which runc keeps


def number(docker, container) -> int:
    script = "until [ -s /number ]; do sleep 0.01; done; tail -n 1 /number"
    return int(docker("exec", container, "sh", "-c", script).ok().out)


def counting(docker) -> str:
    # Docker 28 restores into no network namespace of its own: it wants it before there is a pid
    # ("bind-mount /proc/0/ns/net", with every runtime).
    words = ["run", "--detach", "--runtime=aisbx", "--network=host", IMAGE]
    container = docker(*words, "sh", "-c", counter_of("/number")).ok().out.strip()
    assert number(docker, container) > 0
    return container


def counts_on(docker, container, above) -> bool:
    """Wait until the counter goes up; tell whether it goes on from `above`."""
    deadline = time.monotonic() + SLOW_S
    first = number(docker, container)
    while (last := number(docker, container)) == first:
        assert time.monotonic() < deadline, "it does not count"
    return above < last < above + 5000


def test_a_container_goes_on_where_it_was(docker):
    container = counting(docker)
    before = number(docker, container)
    docker("checkpoint", "create", container, "first").ok()
    status = docker.inspect(container, "{{.State.Status}}")
    docker("start", "--checkpoint", "first", container).ok()

    assert status == "exited"
    assert docker.inspect(container, "{{.State.Status}}") == "running"
    assert counts_on(docker, container, before)


def test_a_container_is_left_running(docker):
    container = counting(docker)
    before = number(docker, container)
    docker("checkpoint", "create", "--leave-running", container, "first").ok()

    assert docker.inspect(container, "{{.State.Status}}") == "running"
    assert counts_on(docker, container, before)
    assert "first" in docker("checkpoint", "ls", container).ok().out
