"""Docker whose cgroups systemd makes: containers are scopes in a slice."""

from __future__ import annotations

import time

import pytest

from integration import host, needs
from integration.engines.docker import serving
from integration.systemd import units

MB = 1 << 20
SLICE = f"{host.MARK}docker.slice"


@pytest.fixture(scope="module")
def docker_session(systemd, image_tar, scratch, program):
    place = f"{scratch}/docker-systemd"
    with serving(place, image_tar, program, driver="systemd", parent=SLICE) as made:
        yield made


@pytest.fixture
def docker(docker_session, _no_leaks):
    yield docker_session
    docker_session.clean()
    # systemd keeps a slice for as long as it likes.
    _no_leaks.cgroups.add(f"{units.TOP}/{SLICE}")


def unit_of(docker, container):
    return f"docker-{docker.inspect(container, '{{.Id}}')}.scope"


def wait_until_forgotten(unit):
    deadline = time.monotonic() + units.WAIT_S
    while units.shown(unit, "LoadState") != {"LoadState": "not-found"}:
        assert time.monotonic() < deadline, units.systemctl("status", unit)


@needs.controllers("memory", "cpu", "pids")
def test_a_container_is_a_scope_with_its_limits(docker):
    container = docker.up("--memory=64m", "--memory-swap=64m", "--cpus=0.5", "--pids-limit=50")
    unit = unit_of(docker, container)
    told = units.shown(unit, "MemoryMax", "TasksMax", "Slice")

    assert docker.cgroup(container) == f"/{SLICE}/{unit}"
    assert told == {"MemoryMax": str(64 * MB), "TasksMax": "50", "Slice": SLICE}
    assert docker.limit(container, "memory.max") == str(64 * MB)
    assert docker.limit(container, "memory.swap.max") == "0"
    assert docker.limit(container, "cpu.max") == "50000 100000"
    assert docker.limit(container, "pids.max") == "50"


@needs.controllers("memory", "pids")
def test_update_tells_systemd_as_well(docker):
    container = docker.up("--memory=64m", "--memory-swap=64m")
    unit = unit_of(docker, container)
    docker("update", "--memory=96m", "--memory-swap=96m", "--pids-limit=70", container).ok()

    assert docker.limit(container, "memory.max") == str(96 * MB)
    assert docker.limit(container, "pids.max") == "70"
    assert units.shown(unit, "MemoryMax") == {"MemoryMax": str(96 * MB)}


def test_exec_is_in_the_scope(docker):
    container = docker.up()
    docker("exec", "-d", container, "sleep", "1001").ok()
    pids = docker.limit(container, "cgroup.procs").split()

    assert {units.cgroup_of(pid) for pid in pids} == {docker.cgroup(container)}
    assert len(pids) == 2


def test_pause_and_unpause(docker):
    container = docker.up()
    docker("pause", container).ok()
    frozen = docker.limit(container, "cgroup.freeze")
    docker("unpause", container).ok()

    assert (frozen, docker.limit(container, "cgroup.freeze")) == ("1", "0")


@needs.controllers("memory")
def test_a_memory_limit_kills_and_the_failed_scope_is_forgotten(docker):
    # Docker does not learn why, with runc neither: systemd ends the scope first.
    container = docker.up("--memory=16m", command=("tail", "-c", "200000000", "/dev/zero"))
    unit = unit_of(docker, container)
    code = docker("wait", container).ok().out
    docker("rm", container).ok()

    assert code == "137\n"
    wait_until_forgotten(unit)


def test_a_container_that_ends_leaves_no_scope(docker):
    container = docker.up(command=("sh", "-c", "exit 3"))
    unit = unit_of(docker, container)
    code = docker("wait", container).ok().out

    assert code == "3\n"
    wait_until_forgotten(unit)
