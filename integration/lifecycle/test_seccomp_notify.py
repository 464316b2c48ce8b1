"""Seccomp listeners: who is told of a system call, and what an answer does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import queue
import select
import shutil
import socket
import struct
import threading

import pytest

ALLOW, NOTIFY = "SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY"
PATIENCE_S = 30
# linux/seccomp.h: SECCOMP_IOCTL_NOTIF_RECV and _SEND, with their structs
RECEIVE, SEND = 0xC0502100, 0xC0182101
NOTIFICATION, ANSWER = "=QIIiIQ6Q", "=QqiI"


class Agent:
    """Listens, takes one state for each connection, and answers every call with one error."""

    def __init__(self, path, answer=errno.EMLINK):
        self.states = []
        self.calls = []
        self._connections = queue.SimpleQueue()
        self._answer = answer
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen()
        self._end_fd, self._ending_fd = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self):
        os.close(self._ending_fd)
        self._thread.join()
        os.close(self._end_fd)
        self._server.close()
        while not self._connections.empty():
            self._connections.get().close()

    def connection(self):
        """Wait for the next one whose state has been read; return it, for the caller to close."""
        return self._connections.get(timeout=PATIENCE_S)

    def _serve(self):
        listeners = []
        while True:
            readable, _, _ = select.select([self._server, self._end_fd, *listeners], [], [])
            if self._end_fd in readable:
                break
            for one in readable:
                if one is self._server:
                    listeners += self._take()
                elif not self._decide(one):
                    listeners.remove(one)
                    os.close(one)
        for fd in listeners:
            os.close(fd)

    def _take(self):
        connection, _ = self._server.accept()
        connection.settimeout(PATIENCE_S)
        text, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        self.states.append((json.loads(text), len(fds)))
        self._connections.put(connection)
        return fds

    def _decide(self, fd):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(0)[0][1] & select.POLLIN:
            return False  # POLLHUP: nobody is left under the filter
        data = bytearray(struct.calcsize(NOTIFICATION))
        with contextlib.suppress(FileNotFoundError):  # ENOENT: killed meanwhile
            fcntl.ioctl(fd, RECEIVE, data)
            number, pid, _, call, *_ = struct.unpack(NOTIFICATION, data)
            self.calls.append((pid, call))
            fcntl.ioctl(fd, SEND, struct.pack(ANSWER, number, 0, -self._answer, 0))
        return True


@pytest.fixture
def agent(tmp_path):
    found = Agent(f"{tmp_path}/listener")
    yield found
    found.close()


@pytest.fixture
def notified(bundle, probe, tmp_path):
    """Return a function that lets calls of the program notify the agent."""
    shutil.copy(probe("sys"), f"{bundle.rootfs}/bin/sys")

    def ask(*names, no_new_privileges=True, **more):
        bundle.config["process"]["noNewPrivileges"] = no_new_privileges
        bundle.config["linux"]["seccomp"] = {
            "defaultAction": ALLOW,
            "listenerPath": f"{tmp_path}/listener",
            "syscalls": [{"names": list(names), "action": NOTIFY}],
            **more,
        }
        bundle.args("/bin/sys", "getcpu", "mkdirat", "sched_yield")
        return bundle

    return ask


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_agent_decides(runtime, agent, notified, no_new_privileges):
    bundle = notified("mkdirat", no_new_privileges=no_new_privileges)
    result = runtime.run(bundle).ok()

    assert result.lines == ["getcpu 0", f"mkdirat {errno.EMLINK}", "sched_yield 0"]
    assert len(agent.calls) == 1


def test_the_state_says_whose_listener_it_is(runtime, agent, notified):
    bundle = notified("mkdirat", listenerMetadata="who asks \N{SNOWMAN}")
    container = runtime.create(bundle)
    ((state, fds),) = agent.states
    container_state = state.pop("state")

    assert fds == 1
    assert state == {
        "ociVersion": state["ociVersion"],
        "fds": ["seccompFd"],
        "pid": container.pid,
        "metadata": "who asks \N{SNOWMAN}",
    }
    assert container_state["id"] == bundle.id
    assert container_state["pid"] == container.pid
    assert container_state["status"] == "creating"
    assert container_state["bundle"] == bundle.path


def test_a_connection_ends_with_the_state(runtime, agent, notified):
    if runtime.name == "runc":
        pytest.skip("runc 1.1.5 leaves it open until it ends")
    bundle = notified("mkdirat")
    # Init runs hooks in `start`: it must not hold the connection until then.
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sys", "args": ["sys"]}]}
    runtime.create(bundle)

    with agent.connection() as connection:
        assert connection.recv(1) == b""


def test_a_program_that_is_executed_has_its_own_listener(runtime, agent, notified):
    bundle = notified("mkdirat")
    container = runtime.started(bundle)
    result = container.exec("/bin/sys", "mkdirat").ok()

    assert result.lines == [f"mkdirat {errno.EMLINK}"]
    (_, first), (state, second) = agent.states
    assert (first, second) == (1, 1)
    assert state["pid"] not in (0, container.pid)
    assert state["state"]["pid"] == container.pid
    assert state["state"]["status"] == "running"


def test_without_an_agent_nothing_is_made(runtime, notified, tmp_path):
    bundle = notified("mkdirat")
    result = runtime.try_create(bundle)

    assert result.code == 1
    assert "failed to connect with seccomp agent" in result.message
    assert f"{tmp_path}/listener" in result.message
    assert runtime("state", bundle.id).code == 1


def accept_and_close(server):
    server.accept()[0].close()


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_an_agent_that_hangs_up_ends_create(runtime, notified, tmp_path, no_new_privileges):
    bundle = notified(
        "mkdirat", no_new_privileges=no_new_privileges, listenerMetadata="x" * 400_000
    )
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/listener")
        server.listen()
        hang_up = threading.Thread(target=accept_and_close, args=[server])
        hang_up.start()
        result = runtime.try_create(bundle)
        hang_up.join()

    assert result.code == 1
    assert runtime("state", bundle.id).code == 1


@pytest.mark.parametrize(
    "more",
    [
        {"syscalls": [{"names": ["write"], "action": NOTIFY}]},
        {"defaultAction": NOTIFY},
        {"listenerPath": ""},
    ],
)
def test_a_listener_that_cannot_be_is_refused(runtime, agent, notified, more):
    bundle = notified("mkdirat", **more)
    result = runtime.try_create(bundle)

    assert result.code == 1
    assert runtime("state", bundle.id).code == 1
    assert agent.states == []


@pytest.mark.parametrize(
    "flags",
    [
        ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"],
    ],
)
def test_a_flag_goes_with_a_listener(runtime, agent, notified, flags):
    if runtime.name == "runc":
        pytest.skip("runc 1.1.5 has no flags")
    result = runtime.run(notified("mkdirat", flags=flags)).ok()

    assert f"mkdirat {errno.EMLINK}" in result.lines


def test_a_hook_before_the_program_can_notify(runtime, agent, notified):
    bundle = notified("mkdirat")
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sys", "args": ["sys", "mkdirat"]}]}
    runtime.run(bundle).ok()

    assert len(agent.calls) == 2


def receive_all(server, texts, counts):
    connection, _ = server.accept()
    with connection:
        while True:
            text, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
            for fd in fds:
                os.close(fd)
            if not text:
                return
            texts.append(text)
            counts.append(len(fds))


def test_a_long_state_arrives_whole_and_its_descriptor_with_the_first_part(
    runtime, notified, tmp_path
):
    bundle = notified("mkdirat", listenerMetadata="x" * 400_000)
    texts, counts = [], []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/listener")
        server.listen()
        reader = threading.Thread(target=receive_all, args=[server, texts, counts])
        reader.start()
        runtime.create(bundle)
        reader.join(PATIENCE_S)

    assert not reader.is_alive()
    assert len(json.loads(b"".join(texts))["metadata"]) == 400_000
    assert (counts[0], sum(counts), len(counts) > 1) == (1, 1, True)
