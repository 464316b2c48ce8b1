"""The ground of the fuzzing: one bundle, with markers outside of it, and a read-only machine."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from integration import host
from integration.bundle import Template
from integration.fuzz.ground import Ground

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNS = host.CLONE_NEWNS
MS_REMOUNT, MS_RDONLY = 32, 1  # linux/mount.h
# busybox has 400 applets, and every example makes a rootfs.
APPLETS = ["sh", "true", "cat", "id", "sleep", "hostname", "mount", "ls", "readlink", "head"]


# Not for the package: this directory is none to pytest, and it would last until the session ends.
@pytest.fixture(scope="module")
def _read_only_machine(_isolation: None) -> Iterator[None]:
    """Whatever config.json says, the files of the machine cannot be written."""
    mounts_fd, directory = os.open("/proc/self/ns/mnt", os.O_RDONLY), os.getcwd()
    host.check(host.libc.unshare(CLONE_NEWNS), "unshare")
    host.mount("none", "/", flags=host.MS_BIND | MS_REMOUNT | MS_RDONLY)
    tempfile.tempdir = "/dev/shm"
    yield
    tempfile.tempdir = None
    host.check(host.libc.setns(mounts_fd, CLONE_NEWNS), "setns")
    os.close(mounts_fd)
    os.chdir(directory)


@pytest.fixture(scope="session")
def small(template: Template) -> Template:
    made = Template.__new__(Template)
    made.path, made.busybox, made.applets = template.path, template.busybox, APPLETS
    return made


@pytest.fixture
def ground(
    runtime,
    scratch,
    small,
    _no_leaks,
    _read_only_machine,
) -> Iterator[Ground]:
    made = Ground(runtime, f"{scratch}/{host.MARK}-fuzz", small)
    yield made
    made.close()
