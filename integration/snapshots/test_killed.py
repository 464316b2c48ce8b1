"""kill -9 at every step of the disk, and at any moment: the same command succeeds afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from aisbx_runtime.sandbox.errors import NotFoundError
from aisbx_runtime.sandbox.store import Store
from integration import host
from integration.snapshots.driver import ground, main, sound
from integration.snapshots.test_commands import FOREVER, status_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Whatever changes the disk, or waits for it. Each is killed at its first call, its second ...
CALLS = {
    "create": ("mkdir", "rename", "fsync", "copy_file_range", "ftruncate", "write", "unlink",
               "unlinkat", "rmdir", "flock"),
    "rm": ("unlink", "fsync", "flock"),
    "gc": ("unlink", "rmdir", "flock"),
}  # fmt: skip
LONGEST = 60


@pytest.fixture(scope="module")
def example(scratch):
    if reason := host.lacks_program("strace"):
        pytest.skip(reason)
    path = f"{scratch}/killed"
    os.mkdir(path)
    ground(f"{path}/example")
    yield path
    shutil.rmtree(path)


def killed_at(store_path, operation, call, number):
    """Run the operation; kill it as it enters this call for the number-th time. Was it killed?"""
    words = ["strace", "-qq", "-e", f"trace={call}", "-e"]
    words += [f"inject={call}:signal=KILL:when={number}"]
    words += [sys.executable, "-B", "-m", "integration.snapshots.driver", store_path, operation]
    done = subprocess.run(words, cwd=ROOT, check=False, stdin=-3, stdout=-3, stderr=-3)
    assert done.returncode in {0, -signal.SIGKILL}, (call, number)
    return done.returncode != 0


@pytest.mark.parametrize(
    ("operation", "call"), [(verb, call) for verb, calls in CALLS.items() for call in calls]
)
def test_a_kill_at_any_call_is_made_good_by_the_same_command(example, operation, call):
    path = f"{example}/store"
    killed = 0
    for number in range(1, LONGEST):
        shutil.copytree(f"{example}/example", path)
        # The facts name the example's place.
        facts = f"{path}/containers/box/aisbx.json"
        with open(facts) as file:
            text = file.read().replace("/example/", "/store/")
        with open(facts, "w") as file:
            file.write(text)
        if operation == "gc":
            main(path, "rm")
        was_killed = killed_at(path, operation, call, number)
        store = Store.open(path)
        # Whole at any time: nothing is named that is not there.
        sound(store)
        try:
            main(path, operation)
        except NotFoundError:
            # The kill came when all was done.
            assert operation == "rm"
        main(path, "gc")
        found = sound(store)
        shutil.rmtree(path)
        expected = {"create": (2, 5), "rm": (0, 0), "gc": (0, 0)}[operation]
        assert expected == (len(found["trees"]), len(found["files"]))
        assert [] == found["work"]
        if not was_killed:
            break
        killed = number
    else:
        pytest.fail(f"{call} is called more than {LONGEST} times")
    assert killed > 0


@pytest.fixture
def box(aisbx):
    """A sandbox `box` that runs and has changed 4 MB."""
    script = f"dd if=/dev/zero of=/big bs=1M count=4 2>&1; touch /ready; {FOREVER}"
    aisbx("run", "--detach", "--name", "box", "busybox", "sh", "-c", script).ok()
    aisbx("exec", "box", "sh", "-c", "while ! [ -e /ready ]; do sleep 0.01; done").ok()
    return aisbx


def started(aisbx, *words):
    return subprocess.Popen(
        [aisbx.program, *words], env=aisbx.environment, stdin=-3, stdout=-3, stderr=-3
    )


def wait_until_running(aisbx):
    deadline = time.monotonic() + 20
    while status_of(aisbx, "box") != "running":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_container_goes_on_when_its_snapshot_is_killed(box, snapshots):
    """At any moment: the guardian thaws it, and the same command works at once."""
    marker = box.store.place("containers/box/paused-by-snapshot")
    met = 0
    for moment in range(14):
        box("exec", "box", "sh", "-c", f"echo {moment} >/changed").ok()
        process = started(box, "snapshot", "create", "--name", "good", "box")
        if moment % 2:
            # In the midst of the pause.
            while process.poll() is None and not os.path.exists(marker):
                time.sleep(0.001)
            time.sleep(0.01 * (moment // 2))
        else:
            time.sleep(0.04 * (moment // 2))
        met += os.path.exists(marker)
        process.kill()
        process.wait()
        if moment % 4 < 2:
            wait_until_running(box)
        snapshots("create", "--name", "good", "box")
        assert "running" == status_of(box, "box")
        assert not os.path.exists(marker)
        out = box("snapshot", "restore", "good", "cat", "/changed").ok().out
        assert f"{moment}\n" == out

    assert met > 0


def test_a_pause_that_outlives_who_asked_for_it_is_ended_as_well(box, tmp_path):
    runtime = box.environment.get("AISBX_RUNTIME", f"{os.path.dirname(box.program)}/aisbx-runtime")
    slow = tmp_path / "slow"
    slow.write_text(
        "#!/bin/sh\n"
        f'case $1 in pause) : >{tmp_path}/begun; sleep 0.5; {runtime} "$@"; : >{tmp_path}/done ;;\n'
        f'*) exec {runtime} "$@" ;; esac\n'
    )
    slow.chmod(0o755)
    words = [box.program, "snapshot", "create", "box"]
    environment = {**box.environment, "AISBX_RUNTIME": str(slow)}
    process = subprocess.Popen(words, env=environment, stdin=-3, stdout=-3, stderr=-3)
    while not (tmp_path / "begun").exists():
        time.sleep(0.001)
    process.kill()
    process.wait()
    while not (tmp_path / "done").exists():
        time.sleep(0.001)

    wait_until_running(box)
    box.store.sweep()


def test_a_container_whose_guardian_was_killed_too_goes_on_with_the_next_snapshot(box, snapshots):
    marker = box.store.place("containers/box/paused-by-snapshot")
    program = os.path.join(os.path.dirname(box.program), "aisbx-runtime")
    runtime = box.environment.get("AISBX_RUNTIME", program)
    # As they left it: the marker, and a container that is paused.
    with open(marker, "w"):
        subprocess.run([runtime, "pause", "box"], check=True)

    snapshots("create", "box")

    assert "running" == status_of(box, "box")
    assert not os.path.exists(marker)


def test_gc_takes_nothing_from_snapshots_that_are_being_made(box, snapshots):
    """Two makers, and whoever removes and collects, all at once."""
    script = "i=0; while :; do i=$((i+1)); echo $i >/n; echo $((i/5)) >/m; done"
    box("run", "--detach", "--name", "two", "busybox", "sh", "-c", script).ok()
    busy = {}
    rounds = 0
    while rounds < 12 or busy:
        for name, words in (
            ("one", ("create", "--name", "one", "box")),
            ("two", ("create", "--name", "two", "two")),
            ("gc", ("gc",)),
        ):
            process = busy.get(name)
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                assert 0 == process.returncode, (name, process.communicate())
                del busy[name]
                rounds += 1
            if rounds < 12:
                busy[name] = started(box, "snapshot", *words)
        for each in snapshots("ls"):
            if not each["names"]:
                snapshots("rm", each["id"])

    sound(box.store)
    for name in "one", "two":
        box("snapshot", "restore", name, "true").ok()


def test_a_hundred_snapshots_lose_nothing_to_gc(example):
    """Two makers of the same and other contents, and a collector who never rests."""
    path = f"{example}/hundred"
    ground(path)
    words = [sys.executable, "-B", "-m", "integration.snapshots.driver", path]
    collector = subprocess.Popen([*words, "collect"], cwd=ROOT, stdin=-1)
    makers = [subprocess.Popen([*words, verb], cwd=ROOT) for verb in ("make-one", "make-two")]
    codes = [maker.wait() for maker in makers]
    collector.communicate()

    assert [0, 0, 0] == [*codes, collector.returncode]
    main(path, "gc")
    found = sound(Store.open(path))
    assert {"make-one", "make-two", "old"} == set(found["names"])
    assert 3 == len(found["trees"])


def test_a_sandbox_is_replaced_again_after_a_kill(box, snapshots):
    snapshots("create", "--name", "good", "box")
    words = (
        "snapshot",
        "restore",
        "--in-place",
        "box",
        "--force",
        "--detach",
        "good",
        "sleep",
        "9",
    )
    for moment in range(8):
        process = started(box, *words)
        time.sleep(0.05 * moment)
        process.kill()
        process.wait()
        box(*words).ok()
        assert "running" == status_of(box, "box")
        assert ["box"] == box.sandboxes()
