"""The status of a container, from what the kernel says of its init, and the state that is shown."""

from __future__ import annotations

import os
import signal

import pytest

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci.container import Facts
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import is_alive, reap, start_time_of


@pytest.fixture
def root(tmp_path):
    return f"{tmp_path}/root"


@pytest.fixture
def container(root):
    made = containers.reserve(root, "one")
    yield made
    made.close()


@pytest.fixture
def child():
    pid, pidfd = clone3()
    if pid == 0:
        signal.pause()
    yield pid
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    reap(pidfd)
    os.close(pidfd)


def facts_of(pid, **fields):
    return Facts({"pid": pid, "start_time": start_time_of(pid), **fields})


def test_a_process_is_known_by_pid_and_start_time(child):
    start_time = start_time_of(child)

    assert is_alive(child, start_time)
    assert not is_alive(child, start_time + 1)
    assert not is_alive(0, start_time)


def test_a_name_with_spaces_and_parentheses_misleads_nobody():
    read_fd, write_fd = os.pipe()
    pid, pidfd = clone3()
    if pid == 0:
        with open("/proc/self/comm", "w") as file:
            file.write(") Z 1 (")
        os.write(write_fd, b"x")
        signal.pause()
    os.read(read_fd, 1)

    assert start_time_of(pid) >= start_time_of(os.getpid())
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    reap(pidfd)
    for fd in (read_fd, write_fd, pidfd):
        os.close(fd)


def test_a_zombie_has_ended():
    pid, pidfd = clone3()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)

    assert -1 == start_time_of(pid)
    reap(pidfd)

    assert -1 == start_time_of(pid)
    os.close(pidfd)


def test_a_process_that_had_ended_when_it_was_noted_is_not_alive():
    # create notes -1 when init is dead before its start time can be read.
    assert not is_alive(2**22 + 1, -1)


@pytest.mark.parametrize(
    ("complete", "socket", "status"),
    [(False, True, "creating"), (True, True, "created"), (True, False, "running")],
)
def test_a_live_process_is_creating_created_or_running(
    root, container, child, complete, socket, status
):
    if socket:
        container.replace("start.sock", b"")
    other = containers.load(root, "one")

    assert status == containers.status_of(other, facts_of(child, complete=complete))
    assert is_alive(child, start_time_of(child))
    other.close()


def test_init_of_a_create_that_has_died_is_still_creating_and_left_alone(container, child):
    facts = facts_of(child, complete=False)
    container.save(facts)
    container.unlock()
    state = containers.state_of(container, facts)

    assert (containers.CREATING, child) == (state["status"], state["pid"])
    assert is_alive(child, facts.number("start_time"))


def test_a_create_that_has_died_with_its_init_is_stopped(container):
    facts = Facts({"pid": 2**22 + 1, "start_time": 5, "complete": False})
    container.save(facts)
    container.unlock()

    assert containers.STOPPED == containers.status_of(container, facts)


def test_a_create_that_becomes_ready_meanwhile_keeps_its_init(container, child):
    old = facts_of(child, complete=False)
    container.save(old.with_fields(complete=True))
    container.unlock()

    assert containers.RUNNING == containers.status_of(container, old)
    assert is_alive(child, old.number("start_time"))


def test_a_reserved_id_is_creating_while_somebody_works_on_it(root, container):
    other = containers.load(root, "one")

    assert containers.CREATING == containers.status_of(other, other.facts())
    container.unlock()

    assert containers.STOPPED == containers.status_of(other, other.facts())


def test_a_dead_process_is_stopped(container):
    facts = Facts({"pid": 2**22 + 1, "start_time": 5, "complete": True})

    assert containers.STOPPED == containers.status_of(container, facts)


def test_init_is_opened_only_when_it_is_the_same(child):
    same = containers.open_init(facts_of(child))

    assert same >= 0
    os.close(same)
    assert -1 == containers.open_init(facts_of(child).with_fields(start_time=1))
    assert -1 == containers.open_init(Facts({}))
    assert -1 == containers.open_init(Facts({"pid": 2**22 + 1}))


def test_the_state_of_a_stopped_container_has_no_pid(container, child):
    facts = facts_of(child, bundle="/b", annotations={"a": "b"}, created="then")
    state = containers.state_of(container, facts, status=containers.STOPPED)

    assert {
        "ociVersion": "1.0.2",
        "id": "one",
        "pid": 0,
        "status": "stopped",
        "bundle": "/b",
        "rootfs": "",
        "created": "then",
        "owner": "",
        "annotations": {"a": "b"},
    } == state


def test_a_state_has_a_time_even_without_facts(container):
    state = containers.state_of(container, Facts({}))

    assert state["created"].endswith("Z")
    assert "annotations" not in state


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1700000000_000000001, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_times_are_in_utc_as_go_reads_them(nanoseconds, text):
    assert text == containers.rfc3339(nanoseconds)
