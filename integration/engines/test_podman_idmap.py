"""podman: volumes whose files belong to other ids inside."""

from __future__ import annotations

import os

import pytest

from integration import host
from integration.differences import known_of_runc
from integration.engines.podman import IMAGE

pytestmark = pytest.mark.skipif(
    host.lacks_namespace("--user") != "",
    reason="no user namespaces here",
)
MAPPED = ["--uidmap", "0:300000:65536", "--gidmap", "0:300000:65536"]


@pytest.fixture
def volume(scratch):
    """A directory of root's."""
    path = f"{scratch}/volume"
    os.mkdir(path)
    yield path
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    os.rmdir(path)


@pytest.mark.parametrize(("option", "owner"), [("rw", "65534"), ("idmap", "0")])
def test_an_id_mapped_volume_belongs_to_the_root_of_the_container(
    podman, runtime, volume, option, owner
):
    # podman 4 sends the word alone, podman 5 mappings alone.
    result = podman.run(
        *MAPPED, "-v", f"{volume}:/data:{option}", IMAGE, "stat", "-c", "%u", "/data"
    )
    known_of_runc(runtime, "1.1 ignores idmap", seen=result.out != f"{owner}\n")

    assert result.ok().out == f"{owner}\n"


def test_what_the_container_writes_there_belongs_to_root_outside(podman, runtime, volume):
    result = podman.run(*MAPPED, "-v", f"{volume}:/data:idmap", IMAGE, "touch", "/data/new")
    known_of_runc(runtime, "1.1 ignores idmap", seen=result.code != 0)

    result.ok()
    assert os.stat(f"{volume}/new").st_uid == 0
