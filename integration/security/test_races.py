"""Renames on a volume that two containers share, while one of them is made.

CVE-2021-30465, CVE-2024-45310: a flawed runtime checks a path and uses it afterwards; in between
the other container puts a symlink in its place, and the mount, file or directory is made outside.
"""

from __future__ import annotations

import os
import shutil
import time

import pytest

from integration.mountinfo import MountLine

SECONDS = 2.0
MINIMUM = 8


@pytest.fixture
def volume(_no_leaks, scratch, canary):
    """A shared directory with `turn`: a directory at one moment, a way out at the next."""
    path = f"{scratch}/volume"
    os.makedirs(f"{path}/turn")
    os.symlink(canary.directory, f"{path}/other")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def turning(volume, tool, beside):
    """The attack is on; returns the descriptor of the directory that takes part in it."""
    fd = os.open(f"{volume}/turn", os.O_RDONLY | os.O_DIRECTORY)
    beside(tool("flip"), f"{volume}/turn", f"{volume}/other")
    yield fd
    os.close(fd)


def rounds():
    """Yield for some seconds, and at least MINIMUM times."""
    end = time.monotonic() + SECONDS
    number = 0
    while number < MINIMUM or time.monotonic() < end:
        number += 1
        yield number


def empty(directory_fd):
    for name in os.listdir(directory_fd):
        try:
            shutil.rmtree(name, dir_fd=directory_fd)
        except NotADirectoryError:
            os.unlink(name, dir_fd=directory_fd)


@pytest.mark.parametrize("target", ["/volume/turn", "/volume/turn/inner"])
def test_a_mount_whose_target_turns_into_a_symlink_stays_inside(
    runtime, bundle, volume, turning, canary, target
):
    # CVE-2021-30465: the mount is either inside, where it can be seen, or refused.
    bundle.mount("/volume", "bind", volume, "rbind")
    bundle.mount(target, "tmpfs", "raced", "size=4k")
    lost = ran = 0
    for _ in rounds():
        result = runtime.run(bundle, "grep -c ' raced ' /proc/self/mountinfo; true")
        ran += result.code == 0
        lost += result.code == 0 and result.out != "1\n"
        empty(turning)

    assert ran, result
    assert lost == 0
    assert canary.changes() == []


@pytest.mark.parametrize("source", ["directory", "file"])
def test_a_missing_target_is_never_made_outside(runtime, bundle, volume, turning, canary, source):
    # CVE-2024-45310: MkdirAll and the empty file for a bind follow the symlink.
    bundle.mount("/volume", "bind", volume, "rbind")
    what = "/etc" if source == "directory" else "/etc/passwd"
    bundle.mount("/volume/turn/new/deep/target", "bind", what, "bind")
    changes = []
    for _ in rounds():
        runtime.run(bundle, "true")
        empty(turning)
        changes = canary.changes()
        if changes:
            break

    assert changes == []


def test_a_working_directory_is_never_made_outside(runtime, bundle, volume, turning, canary):
    bundle.mount("/volume", "bind", volume, "rbind")
    bundle.config["process"]["cwd"] = "/volume/turn/new/deep"
    for _ in rounds():
        runtime.run(bundle, "true")
        empty(turning)

    assert canary.changes() == []


def test_a_mask_whose_path_turns_into_a_symlink_covers_nothing_outside(
    runtime, bundle, volume, turning, canary
):
    bundle.mount("/volume", "bind", volume, "rbind")
    with open(f"{volume}/second", "w"):
        pass
    bundle.config["linux"]["maskedPaths"] = ["/volume/turn/file"]
    bundle.config["linux"]["readonlyPaths"] = ["/volume/turn"]
    for _ in rounds():
        runtime.run(bundle, "true")

    assert canary.changes() == []


@pytest.mark.parametrize("name", ["console", "pts", "null"])
def test_a_dev_that_turns_gives_away_no_file_of_proc(
    runtime, new_bundle, scratch, tool, beside, canary, name
):
    # CVE-2025-52565, CVE-2025-31133: /dev/console, /dev/pts/N and /dev/null are replaced while
    # they are used; a flawed runtime leaves core_pattern bound, writable, in the container.
    volume = f"{scratch}/dev-{name}"
    os.makedirs(f"{volume}/pts")
    for file in ("console", "null"):
        with open(f"{volume}/{file}", "w"):
            pass
    if name == "pts":
        os.mkdir(f"{volume}/other")
        os.symlink("/proc/sys/kernel/core_pattern", f"{volume}/other/0")
        os.symlink("/proc/sys/kernel/core_pattern", f"{volume}/other/1")
    else:
        os.symlink("/proc/sys/kernel/core_pattern", f"{volume}/other")
    attacker = beside(tool("flip"), f"{volume}/{name}", f"{volume}/other")
    given = set()
    for number in rounds():
        given |= _foreign_mounts(runtime, new_bundle(), volume, number)
        if given or number > 20:
            break
    attacker.kill()
    attacker.wait()
    shutil.rmtree(volume)

    assert given == set()
    assert canary.changes() == []


def _foreign_mounts(runtime, bundle, volume, number):
    """Create with a terminal in the shared /dev; return binds of files below /proc/sys."""
    from integration.terminal import ConsoleSocket

    mounts = [one for one in bundle.config["mounts"] if not one["destination"].startswith("/dev")]
    bundle.config["mounts"] = mounts
    bundle.mount("/dev", "bind", volume, "rbind")
    bundle.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")
    bundle.config["process"]["terminal"] = True
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys", "/proc/timer_list"]
    # Without the usual read-only bind of /proc/sys every bind of a file there is foreign.
    bundle.config["linux"]["readonlyPaths"] = []
    socket = ConsoleSocket(f"{bundle.path}/console")
    path = f"{bundle.path}/pid"
    try:
        result = runtime.try_create(bundle, "--console-socket", socket.path)
        if result.code:
            return set()
        with open(path) as text:
            pid = text.read()
        with open(f"/proc/{pid}/mountinfo") as text:
            lines = [MountLine(line) for line in text]
        runtime("delete", "--force", bundle.id)
        return {
            f"{one.root} at {one.target}"
            for one in lines
            if one.root.startswith("/sys/") and one.fstype == "proc"
        }
    finally:
        socket.close()
