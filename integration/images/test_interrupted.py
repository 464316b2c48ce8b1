"""kill -9 at any moment: the same command then succeeds, and nothing is left of the first one."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from aisbx_runtime.sandbox.errors import SandboxError
from aisbx_runtime.sandbox.images import gc, layout, look
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.names import file_name
from aisbx_runtime.sandbox.images.unpack import unpack
from aisbx_runtime.sandbox.store import Store
from integration.images import killed
from integration.images.making import Image, file, layer, sound
from integration.images.seen import Steps, held, tree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KILLED = signal.SIGKILL
CALLER = """
import sys
sys.path.insert(0, {root!r})
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.store import Store

class Said:
    def step(self, what, total_bytes=0):
        print(what, flush=True)
    def advance(self, done_bytes):
        pass

print("made", rootfs_of(Store.open(sys.argv[1]), sys.argv[2], Said()).key)
"""


@pytest.fixture
def image(ground):
    return Image(f"{ground}/image", sound(), layer(("x", b"1")))


def whole(store: Store, image: Image) -> None:
    """Assert that the image is there as if nothing had ever happened."""
    made = rootfs_of(store, image.reference, Steps())
    gc.collect(store, Steps())

    assert {"etc", "etc/passwd", "hello", "x"} == set(tree(made.path))
    blobs = {image.digest, image.manifest["config"]["digest"]}
    blobs |= {found["digest"] for found in image.manifest["layers"]}
    assert {
        "layout/blobs/sha256": sorted(digest.removeprefix("sha256:") for digest in blobs),
        "refs": [file_name(image.reference)],
        "rootfs": [made.key],
        "work": [],
    } == held(store.path)
    assert [image.reference] == list(layout.names(store))
    assert ["blobs", "index.json", "oci-layout"] == sorted(os.listdir(store.place("layout")))
    assert ["image.json", "rootfs"] == sorted(os.listdir(store.place("rootfs", made.key)))


def test_a_pull_that_is_killed_before_any_of_its_calls(ground, image):
    """One test for all moments: how many there are, the first run says."""

    def work() -> None:
        rootfs_of(Store.open(f"{ground}/store"), image.reference, Steps())

    status, events = killed.run(work)
    whole(Store.open(f"{ground}/store"), image)

    assert (0, 4) == (status, events.count("subprocess.Popen"))
    for moment in range(1, len(events) + 1):
        shutil.rmtree(f"{ground}/store")
        status, seen = killed.run(work, moment)

        assert (KILLED, moment) == (status, len(seen))
        whole(Store.open(f"{ground}/store"), image)


@pytest.mark.parametrize("after_s", [0.005, 0.03, 0.1])
@pytest.mark.parametrize("which", range(1, 5))
def test_a_pull_that_is_killed_while_a_program_works_for_it(ground, image, which, after_s):
    """skopeo, umoci and sync end with it; what they had written is swept."""

    def work() -> None:
        rootfs_of(Store.open(f"{ground}/store"), image.reference, Steps())

    _, events = killed.run(work)
    started = [number for number, event in enumerate(events, 1) if event == "subprocess.Popen"]
    shutil.rmtree(f"{ground}/store")
    killed.run(work, started[which - 1], after_s)
    whole(Store.open(f"{ground}/store"), image)


def test_a_gc_that_is_killed_before_any_of_its_calls(ground, image):
    gone = Image(f"{ground}/gone", sound(file("gone", b"1")))
    path = f"{ground}/store"

    def fill() -> None:
        shutil.rmtree(path, ignore_errors=True)
        store = Store.open(path)
        for one in (image, gone):
            rootfs_of(store, one.reference, Steps())
        look.forget(store, gone.reference)

    fill()
    status, events = killed.run(lambda: gc.collect(Store.open(path), Steps()))

    assert 0 == status
    whole(Store.open(path), image)
    for moment in range(1, len(events) + 1, 3):
        fill()
        status, _ = killed.run(lambda: gc.collect(Store.open(path), Steps()), moment)

        assert status == KILLED
        whole(Store.open(path), image)


def test_a_removal_that_is_killed_before_any_of_its_calls(ground, image):
    path = f"{ground}/store"
    rootfs_of(Store.open(path), image.reference, Steps())
    for moment in range(1, 30):
        status, _ = killed.run(lambda: look.forget(Store.open(path), image.reference), moment)
        store = Store.open(path)
        if image.reference in layout.names(store):
            whole(store, image)
        else:
            assert [] == held(path)["refs"]
            rootfs_of(store, image.reference, Steps())
        if status == 0:
            break
    else:
        pytest.fail("it never came to its end")


def caller(ground: str, image: Image) -> subprocess.Popen[str]:
    script = CALLER.format(root=ROOT)
    return subprocess.Popen(
        [sys.executable, "-c", script, f"{ground}/store", image.reference],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_who_comes_at_once_gets_the_same_and_one_has_made_it(ground, store, image):
    running = [caller(ground, image) for _ in range(4)]
    said = [process.communicate()[0].splitlines() for process in running]
    every = [line for lines in said for line in lines]

    assert [0] * 4 == [process.returncode for process in running]
    assert 1 == len({line for line in every if line.startswith("made ")})
    assert 1 == every.count(f"copying {image.reference}")
    assert 1 == len([line for line in every if line.startswith("unpacking ")])
    whole(store, image)


def test_whoever_waits_is_told_so(ground, store, image):
    with store.making(f"pull-{file_name(image.reference)}"):
        process = caller(ground, image)
        assert process.stdout is not None
        said = process.stdout.readline()
    process.communicate()

    assert f"waiting for another aisbx that pulls {image.reference}\n" == said
    assert 0 == process.returncode


def test_two_names_of_one_image_are_unpacked_once(ground, store, image):
    shutil.copytree(image.path, f"{ground}/same")
    running = [caller(ground, image)]
    image.path = f"{ground}/same"
    running.append(caller(ground, image))
    said = "".join(process.communicate()[0] for process in running)

    assert [0, 0] == [process.returncode for process in running]
    assert 1 == said.count("unpacking ")


def test_gc_beside_pulls_takes_nothing_of_theirs(ground, store):
    images = [Image(f"{ground}/i{number}", sound(file("n", b"%d" % number))) for number in range(4)]
    running = [caller(ground, one) for one in images]
    done = threading.Event()

    def collecting() -> None:
        while not done.is_set():
            gc.collect(store, Steps())

    thread = threading.Thread(target=collecting)
    thread.start()
    try:
        for process in running:
            process.communicate()
    finally:
        done.set()
        thread.join()

    assert [0] * 4 == [process.returncode for process in running]
    for one in images:
        assert layout.is_complete(store, one.digest)
        assert "n" in tree(unpack(store, one.digest, Steps()).path)


def test_ctrl_c_leaves_nothing(ground, store, image):
    class Interrupting(Steps):
        def step(self, what: str, total_bytes: int = 0) -> None:
            super().step(what, total_bytes)
            if what.startswith("unpacking"):
                raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        rootfs_of(store, image.reference, Interrupting())

    assert ([], []) == (held(store.path)["work"], held(store.path)["rootfs"])
    whole(store, image)


def test_a_program_that_fails_leaves_nothing(ground, store, image, monkeypatch):
    os.mkdir(f"{ground}/bin")
    with open(f"{ground}/bin/umoci", "w") as out:
        out.write("#!/bin/sh\necho one >&2; echo the reason >&2; exit 3\n")
    os.chmod(f"{ground}/bin/umoci", 0o755)
    with monkeypatch.context() as changed:
        changed.setenv("PATH", f"{ground}/bin:{os.environ['PATH']}")
        with pytest.raises(SandboxError) as caught:
            rootfs_of(store, image.reference, Steps())

    assert "umoci: the reason" == caught.value.why
    assert ([], []) == (held(store.path)["work"], held(store.path)["rootfs"])
    whole(store, image)


@pytest.mark.parametrize("program", ["skopeo", "umoci"])
def test_a_program_ends_with_whoever_started_it(ground, image, monkeypatch, program):
    """Its own work takes no time here; one that hangs must not stay when aisbx is killed."""
    os.mkdir(f"{ground}/bin")
    with open(f"{ground}/bin/{program}", "w") as out:
        out.write(f"#!/bin/sh\necho $$ >{ground}/pid\nexec sleep 1000\n")
    os.chmod(f"{ground}/bin/{program}", 0o755)
    os.mkfifo(f"{ground}/pid")
    with monkeypatch.context() as changed:
        changed.setenv("PATH", f"{ground}/bin:{os.environ['PATH']}")
        process = caller(ground, image)
        with open(f"{ground}/pid") as said:
            pidfd = os.pidfd_open(int(said.read()))
    process.kill()
    process.communicate()

    assert ([pidfd], [], []) == select.select([pidfd], [], [], 30)
    os.close(pidfd)
    whole(Store.open(f"{ground}/store"), image)


def test_what_a_program_still_writes_in_is_not_swept(ground, store, image, monkeypatch):
    """It has left the family, so nothing ends it; the lock of the workplace is its own as well."""
    os.mkdir(f"{ground}/bin")
    os.mkfifo(f"{ground}/go")
    with open(f"{ground}/bin/skopeo", "w") as out:
        out.write(f"#!/bin/sh\nsetsid sh -c 'read go <{ground}/go' >/dev/null 2>&1 &\nexit 1\n")
    os.chmod(f"{ground}/bin/skopeo", 0o755)

    def dying(fd: int) -> list[str]:
        # Its skopeo has ended, and what that has started has not.
        del fd
        os.kill(os.getpid(), KILLED)
        return []

    with monkeypatch.context() as changed:
        changed.setenv("PATH", f"{ground}/bin:{os.environ['PATH']}")
        changed.setattr("aisbx_runtime.sandbox.tools._last_lines", dying)
        status, _ = killed.run(lambda: rootfs_of(store, image.reference, Steps()))
    before = held(store.path)["work"]
    swept = store.sweep()
    with open(f"{ground}/go", "w") as go:
        go.write("go\n")

    assert (KILLED, 1, []) == (status, len(before), swept)
    whole(store, image)
