"""containerd: a task is saved, and a container restored from that, by a real criu."""

from __future__ import annotations

import os
import time

import pytest

from integration.checkpoints import counter_of
from integration.runtime import TIMEOUT_S

SAVED = "localhost/saved:1"


@pytest.fixture
def ctr(ctr, bin_directory):
    """containerd with a criu in its PATH."""
    path = f"{ctr.directory}/criu"
    if not os.path.exists(path):
        os.symlink(f"{bin_directory}/criu", path)
    yield ctr
    ctr("images", "rm", SAVED)


def execute(ctr, container, *words) -> str:
    return ctr("tasks", "exec", "--exec-id", ctr.name(), container, *words).ok().out


def number(ctr, container) -> int:
    script = "until [ -s /number ]; do sleep 0.01; done; tail -n 1 /number"
    return int(execute(ctr, container, "sh", "-c", script))


def counts_on(ctr, container, above=0) -> bool:
    """Wait until the counter goes up; tell whether it goes on from `above`."""
    deadline = time.monotonic() + TIMEOUT_S
    first = number(ctr, container)
    while (last := number(ctr, container)) == first:
        assert time.monotonic() < deadline, "it does not count"
    return above < last < above + 2000


def counting(ctr, *flags) -> str:
    # ctr asks for cpu shares in every container: not for these, which may have no such controller.
    container = ctr.up("--cpu-shares", "0", *flags, command=("sh", "-c", counter_of("/number")))
    assert counts_on(ctr, container)
    return container


def test_a_task_is_saved_and_goes_on(ctr):
    container = counting(ctr)
    ctr("containers", "checkpoint", "--task", container, SAVED).ok()

    assert ctr.status(container) == "RUNNING"
    assert counts_on(ctr, container)


def test_a_container_is_restored_where_it_was(ctr):
    container = counting(ctr)
    execute(ctr, container, "sh", "-c", "echo kept >/made")
    before = number(ctr, container)
    ctr("containers", "checkpoint", "--task", "--rw", "--image", container, SAVED).ok()
    ctr("tasks", "delete", "--force", container)
    ctr("containers", "delete", container).ok()
    ctr("containers", "restore", "--rw", "--live", container, SAVED).ok()

    assert execute(ctr, container, "cat", "/made") == "kept\n"
    assert counts_on(ctr, container, before)


def test_a_restored_container_lives_and_ends(ctr):
    container = counting(ctr)
    ctr("containers", "checkpoint", "--task", "--rw", "--image", container, SAVED).ok()
    ctr("tasks", "delete", "--force", container)
    ctr("containers", "delete", container).ok()
    ctr("containers", "restore", "--rw", "--live", container, SAVED).ok()
    ctr("tasks", "pause", container).ok()
    paused = ctr.status(container)
    ctr("tasks", "resume", container).ok()
    ctr("tasks", "kill", "--signal", "9", container).ok()

    assert paused == "PAUSED"
    assert "exit code 137" in ctr("tasks", "delete", container).err


def test_a_task_that_is_saved_to_a_directory_may_end(ctr, scratch):
    # The directory is the shim's: it keeps what criu has written, and the task is over.
    container = counting(ctr)
    image = f"{scratch}/image-of-{container}"
    os.mkdir(image)
    ctr("tasks", "checkpoint", "--exit", "--image-path", image, container).ok()
    ctr("tasks", "delete", container)

    assert {"pstree.img", "descriptors.json"} <= set(os.listdir(image))
    assert ctr.status(container) == ""
