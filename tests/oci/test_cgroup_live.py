"""Freezing, killing, counting and removing, on the kernel."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from aisbx_runtime.oci import cgroup as live
from aisbx_runtime.oci.spec.model import Pids, Resources
from tests.oci.cgroups import Container, place, read, v2_place

pytestmark = pytest.mark.root


# ---- freezing ------------------------------------------------------------------------------------
ECHO = """
    print("ready", flush=True)
    for line in sys.stdin:
        print(line, end="", flush=True)
"""


def freezable(one: Container) -> list[tuple[str, ...]]:
    """Return the ways to freeze that this host has: by cgroup v2, by the freezer of v1."""
    ways = [one.paths] if os.path.exists(f"{one.paths[0]}/cgroup.freeze") else []
    return ways + [(path,) for path in one.paths if os.path.exists(f"{path}/freezer.state")]


def test_a_frozen_process_stands_still_and_goes_on_after(container):
    one = container()
    child = one.start(ECHO)
    child.stdout.readline()
    ways = freezable(one)
    assert ways
    for paths in ways:
        live.freeze(paths)

        assert live.is_frozen(paths)
        child.stdin.write("hello\n")
        # Nothing may come: there is no event to wait for.
        assert select.select([child.stdout], [], [], 0.2)[0] == []
        live.thaw(paths)

        assert not live.is_frozen(paths)
        assert child.stdout.readline() == "hello\n"


def test_freezing_reaches_cgroups_below(container):
    one = container()
    child = one.start(ECHO)
    child.stdout.readline()
    for paths in freezable(one):
        below = f"{paths[0]}/below"
        os.mkdir(below)
        with open(f"{below}/cgroup.procs", "w") as file:
            file.write(str(child.pid))
        live.freeze(paths)
        child.stdin.write("hello\n")

        assert select.select([child.stdout], [], [], 0.2)[0] == []
        live.thaw(paths)
        assert child.stdout.readline() == "hello\n"


def test_a_busy_group_can_be_frozen_many_times(container):
    one = container()
    child = one.start("""
        print("ready", flush=True)
        while True:
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
    """)
    child.stdout.readline()
    for paths in freezable(one):
        for _ in range(20):
            live.freeze(paths)
            assert live.is_frozen(paths)
            live.thaw(paths)


def test_a_cgroup_that_is_gone_is_not_frozen():
    assert live.is_frozen(("/sys/fs/cgroup/aisbx-nothing",)) is False
    assert live.is_frozen(()) is False
    for call in (live.freeze, live.thaw):
        for paths in ((), ("/sys/fs/cgroup/aisbx-nothing",)):
            with pytest.raises(FileNotFoundError):
                call(paths)


# ---- pids, kill, remove --------------------------------------------------------------------------
def test_pids_are_those_below_too(container):
    one = container()
    first, second = one.start("sys.stdin.read()"), one.start("sys.stdin.read()")
    below = f"{one.paths[0]}/a/b"
    os.makedirs(below)
    with open(f"{below}/cgroup.procs", "w") as file:
        file.write(str(second.pid))

    assert sorted([first.pid, second.pid]) == live.pids(one.paths)


def test_pids_of_a_cgroup_that_is_gone_are_none():
    assert live.pids(("/sys/fs/cgroup/aisbx-nothing",)) == []
    assert live.pids(()) == []


def test_pids_of_a_threaded_cgroup_are_listed_once(container):
    path = v2_place().path
    one = container()
    child = one.start("sys.stdin.read()")
    os.mkdir(f"{path}/threads")
    try:
        with open(f"{path}/threads/cgroup.type", "w") as file:
            file.write("threaded")
    except OSError:
        pytest.skip("the kernel refuses a threaded cgroup here")
    with open(f"{path}/threads/cgroup.threads", "w") as file:
        file.write(str(child.pid))

    assert [child.pid] == live.pids((path,))


def test_a_signal_reaches_every_process(container):
    one = container()
    code = """
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
        print("ready", flush=True)
        while True:
            signal.pause()
    """
    children = [one.start(code) for _ in range(3)]
    for child in children:
        child.stdout.readline()
    live.kill(one.paths, signal.SIGUSR1)

    assert [7, 7, 7] == [child.wait() for child in children]


def test_a_frozen_process_gets_its_signal_after(container):
    one = container()
    child = one.start("""
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
        print("ready", flush=True)
        while True:
            signal.pause()
    """)
    child.stdout.readline()
    live.freeze(one.paths)
    live.kill(one.paths, signal.SIGUSR1)

    assert live.is_frozen(one.paths)
    assert child.poll() is None
    live.thaw(one.paths)
    assert child.wait() == 7


@pytest.mark.parametrize("frozen", [False, True])
def test_sigkill_ends_frozen_processes_too(container, frozen):
    one = container()
    for paths in freezable(one):
        child = one.start(ECHO)
        child.stdout.readline()
        if frozen:
            live.freeze(paths)
        live.kill(paths, signal.SIGKILL)

        assert -signal.SIGKILL == child.wait()
        # The v2 cgroup itself stays frozen, and the next child is born in it.
        live.thaw(paths)


BOMB = """
    import signal
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""


def test_a_fork_bomb_dies(container):
    # By SIGKILL of the kernel on v2, by freezing on v1.
    place("pids")
    one = container(Resources(pids=Pids(60)))
    for paths in freezable(one):
        bomb = one.start(BOMB)
        bomb.stdout.readline()
        full = f"{place('pids').path}/pids.current"
        while int(read(full)) < 50:
            os.sched_yield()
        live.kill(paths, signal.SIGKILL)
        bomb.wait()
        wait_until_empty(one)

        assert live.pids(one.paths) == []


def test_on_v1_one_round_is_enough_since_all_stand_still(container, monkeypatch):
    place("freezer")
    monkeypatch.setattr(live, "_ROUNDS", 1)
    one = container(Resources(pids=Pids(400)))
    (path,) = [path for path in one.paths if os.path.exists(f"{path}/freezer.state")]
    for _ in range(5):
        # Each leaves its pid to a child before it can be read and signalled.
        flees = one.start("""
            import signal
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            def fork():
                while True:
                    try:
                        return os.fork()
                    except BlockingIOError:
                        # The dead wait to be reaped, and count as long.
                        os.sched_yield()
            print("ready", flush=True)
            for _ in range(6):
                fork()
            while True:
                if fork():
                    os._exit(0)
        """)
        flees.stdout.readline()
        while len(live.pids((path,))) < 30:
            os.sched_yield()
        live.kill((path,), signal.SIGKILL)
        wait_until_empty(one)

        assert live.pids(one.paths) == []


def wait_until_empty(one: Container) -> None:
    # Children of a dead bomb are reaped by pid 1, whenever it comes to it.
    end = time.monotonic() + 5
    while live.pids(one.paths) and time.monotonic() < end:
        os.sched_yield()


def test_killing_nobody_is_no_error(container):
    one = container()
    live.kill(one.paths, signal.SIGKILL)
    live.kill(one.paths, signal.SIGTERM)
    live.kill((), signal.SIGKILL)
    live.kill(("/sys/fs/cgroup/aisbx-nothing",), signal.SIGTERM)


def test_removing_takes_what_is_below_and_is_repeatable(container):
    one = container()
    for path in one.paths:
        os.makedirs(f"{path}/a/b")
    live.remove(one.paths)
    live.remove(one.paths)

    assert [path for path in one.paths if os.path.exists(path)] == []


def test_removing_waits_for_the_last_to_exit(container):
    one = container()
    children = [one.start(ECHO) for _ in range(3)]
    for child in children:
        child.stdout.readline()
    live.kill(one.paths, signal.SIGKILL)
    live.remove(one.paths)

    assert [path for path in one.paths if os.path.exists(path)] == []


def test_a_cgroup_with_processes_stays_and_is_an_error(container, monkeypatch):
    monkeypatch.setattr(live, "_EMPTY_MS", 50)
    one = container()
    child = one.start("sys.stdin.read()")
    with pytest.raises(OSError, match="EBUSY"):
        live.remove(one.paths)

    assert child.pid in live.pids(one.paths)


def test_oom_kills_of_nothing_are_none():
    assert live.oom_kills(()) == 0
    assert live.oom_kills(("/sys/fs/cgroup/aisbx-nothing",)) == 0


def test_the_live_functions_import_nothing_heavy():
    code = """
import os, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import aisbx_runtime.oci.cgroup
print(*sorted(set(sys.modules) - before))
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(live.__file__))))
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code, root], capture_output=True, text=True, check=True
    )

    assert {
        "__future__",
        "aisbx_runtime",
        "aisbx_runtime.oci",
        "aisbx_runtime.oci.cgroup",
        "aisbx_runtime.oci.kernel",
        "aisbx_runtime.oci.kernel.signal",
        "aisbx_runtime.oci.ospath",
        "aisbx_runtime.oci.system",
        "errno",
        "select",
    } == set(done.stdout.split())
