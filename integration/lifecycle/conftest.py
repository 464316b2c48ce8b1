"""Things on the host that several lifecycle tests mount, bind or run."""

from __future__ import annotations

import glob
import os

import pytest

from integration import host
from integration.checkpoints import Checkpoints


def _needs_rights():
    if host.lacks_rights():
        pytest.skip(host.lacks_rights())


@pytest.fixture
def shared(_no_leaks, scratch):
    """A shared mount of the session's mount namespace."""
    _needs_rights()
    path = f"{scratch}/shared"
    os.mkdir(path)
    host.mount("tmpfs", path, "tmpfs")
    host.mount("", path, flags=host.MS_SHARED)
    yield path
    host.umount(path)
    os.rmdir(path)


@pytest.fixture
def nested(_no_leaks, scratch):
    """A mount with another one at below/."""
    _needs_rights()
    path = f"{scratch}/nested"
    os.mkdir(path)
    host.mount("tmpfs", path, "tmpfs")
    os.mkdir(f"{path}/below")
    host.mount("tmpfs", f"{path}/below", "tmpfs")
    yield path
    host.umount(f"{path}/below")
    host.umount(path)
    os.rmdir(path)


@pytest.fixture
def checkpoints(runtime, bundle, bin_directory, expected_processes):
    before = set(glob.glob("/tmp/.criu*"))
    yield Checkpoints(runtime, bundle, bin_directory)
    # A counter writes while its bundle is removed.
    runtime.clean(expected_processes)

    assert before == set(glob.glob("/tmp/.criu*"))
