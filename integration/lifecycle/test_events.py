"""`events`: figures in the shape that go-runc reads, at intervals, and memory running out."""

from __future__ import annotations

import json
import os
import select
import subprocess

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.runtime import PATH, TIMEOUT_S

MEBI = 1 << 20


def figures(container):
    event = json.loads(container.verb("events", "--stats").ok().out)

    assert (event["type"], event["id"]) == ("stats", container.id)
    return event["data"]


class Stream:
    """A call of `events` in the background; its lines as they come."""

    def __init__(self, runtime, container, *flags):
        argv = runtime.argv("events", *flags, container.id)
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={"PATH": PATH}
        )
        assert self.process.stdout is not None
        self.fd = self.process.stdout.fileno()
        self.rest = b""

    def line(self):
        """Return the next event, None at the end."""
        while b"\n" not in self.rest:
            assert select.select([self.fd], [], [], TIMEOUT_S)[0], "no event"
            chunk = os.read(self.fd, 65536)
            if not chunk:
                return None
            self.rest += chunk
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)

    def first(self, wanted):
        """Return the next event of a type, None if none comes before the end."""
        while (event := self.line()) is not None and event["type"] != wanted:
            pass
        return event

    def of_type(self, wanted):
        """Return the events of a type up to the end."""
        found = []
        while (event := self.line()) is not None:
            found += [event] if event["type"] == wanted else []
        return found


@pytest.fixture
def stream(runtime):
    made = []

    def begin(container, *flags):
        made.append(Stream(runtime, container, *flags))
        return made[-1]

    yield begin
    for one in made:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()


def test_the_parts_are_those_that_go_runc_reads(runtime, bundle):
    data = figures(runtime.started(bundle))

    assert {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt"} <= set(data)


@needs.controllers("pids")
def test_processes_are_counted(runtime, bundle):
    bundle.resources(pids={"limit": 40})
    container = runtime.ready(bundle, "sleep 1000 & sleep 1000 & echo ready; wait")

    assert figures(container)["pids"] == {"current": 3, "limit": 40}


@needs.controllers("memory")
def test_memory_is_told_with_its_limit(runtime, bundle):
    bundle.resources(memory={"limit": 64 * MEBI})
    memory = figures(runtime.started(bundle))["memory"]

    assert memory["usage"]["limit"] == 64 * MEBI
    assert 0 < memory["usage"]["usage"] < 64 * MEBI
    assert set(memory) >= {"usage", "swap", "kernel", "kernelTCP", "raw"}
    assert isinstance(memory["raw"]["pgfault"], int)


@needs.cgroups
def test_cpu_time_grows(runtime, bundle):
    container = runtime.ready(
        bundle, "while :; do i=$((i + 1)); [ $i = 20000 ] && echo ready; done"
    )
    first = figures(container)["cpu"]["usage"]
    second = figures(container)["cpu"]["usage"]

    assert 0 < first["total"] < second["total"]
    assert {"kernel", "user"} <= set(first)


@needs.controllers("cpu")
def test_throttling_is_counted(runtime, bundle):
    bundle.resources(cpu={"quota": 2000, "period": 10000})
    container = runtime.ready(bundle, "while :; do i=$((i + 1)); [ $i = 5000 ] && echo ready; done")
    throttling = figures(container)["cpu"]["throttling"]

    assert throttling["periods"] >= throttling["throttledPeriods"] > 0


@needs.cgroups
def test_pressure_is_told_where_the_kernel_knows_it(runtime, bundle):
    if not os.path.exists("/proc/pressure/cpu"):
        pytest.skip("no PSI in this kernel")
    data = figures(runtime.started(bundle))
    known_of_runc(runtime, "1.1 does not tell pressure", seen="psi" not in data["cpu"])
    names = {"avg10", "avg60", "avg300", "total"}

    assert {part: set(data[part]["psi"]) for part in ("cpu", "memory", "blkio")} == {
        part: {"some", "full"} for part in ("cpu", "memory", "blkio")
    }
    assert set(data["memory"]["psi"]["some"]) == names


@pytest.mark.parametrize("state", ["created", pytest.param("paused", marks=needs.cgroups)])
def test_figures_of_a_container_that_waits(runtime, bundle, state):
    bundle.script("exec sleep 1000")
    container = runtime.create(bundle)
    if state == "paused":
        container.start().verb("pause").ok()

    assert "cpu" in figures(container)


def test_a_stopped_container_has_none(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()

    assert container.verb("events", "--stats").code == 1


def test_an_unknown_container_has_none(runtime):
    done = runtime("events", "--stats", "unknown")

    assert done.code == 1
    assert "does not exist" in done.err


@pytest.mark.parametrize("interval", ["0s", "x", "-1s"])
def test_a_bad_interval_is_refused(runtime, bundle, interval):
    assert runtime.started(bundle).verb("events", f"--interval={interval}").code == 1


def test_figures_come_at_intervals_until_the_end(runtime, bundle, stream):
    container = runtime.started(bundle)
    events = stream(container, "--interval", "100ms")
    kinds = [events.line()["type"] for _ in range(3)]
    container.kill()
    container.wait()

    assert kinds == ["stats"] * 3
    if host.lacks_controller("memory") == "":
        # runc ends with the memory cgroup, we with container init.
        container.delete().ok()
    events.of_type("stats")
    assert events.process.wait(TIMEOUT_S) == 0


@needs.controllers("memory")
def test_running_out_of_memory_is_an_event(runtime, bundle, stream):
    bundle.resources(memory={"limit": 16 * MEBI, "swap": 16 * MEBI})
    script = "read go; tail -c 200000000 /dev/zero; echo survived"
    read_fd, write_fd = os.pipe()
    container = runtime.started(bundle, script, stdin=read_fd)
    os.close(read_fd)
    events = stream(container, "--interval", "50ms")
    events.line()
    os.write(write_fd, b"go\n")
    os.close(write_fd)
    container.wait()
    # Before the cgroup is removed: runc reads it when the kernel has told it of a change.
    event = events.first("oom")
    container.delete().ok()
    known_of_runc(runtime, "on v2 its stream may end without the event", seen=event is None)

    assert {"type": "oom", "id": container.id} == event


def test_the_stream_ends_when_nobody_reads_it(runtime, bundle):
    container = runtime.started(bundle)
    stream = Stream(runtime, container, "--interval", "50ms")
    stream.line()
    stream.process.stdout.close()

    # Go's programs die of SIGPIPE on stdout.
    assert stream.process.wait(TIMEOUT_S) in {0, 1, -13}
