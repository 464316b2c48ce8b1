"""podman in a container of podman, the runtime under test below both; programs are the host's."""

from __future__ import annotations

import os

import pytest

from integration import needs
from integration.conftest import ROOT
from integration.engines.podman import IMAGE, SLOW_S

pytestmark = [needs.unified, needs.controllers("memory", "pids")]

# cgroups(7), "no internal processes": the first process moves out of the container's own cgroup.
SCRIPT = """
mkdir /sys/fs/cgroup/room && echo $$ >/sys/fs/cgroup/room/cgroup.procs
inner="podman --root /mnt/graph --runroot /run/inner --cgroup-manager cgroupfs"
$inner import --quiet /mnt/image.tar {image} >/dev/null 2>&1
$inner --runtime {program} run --rm --network none --memory 32m --pids-limit 9 {image} sh -c '
grep ^0: /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max pids.max'
"""
PROGRAMS = {"/usr/bin": "/bin", "/usr/lib": "/lib", "/usr/lib64": "/lib64", "/usr/sbin": "/sbin"}


@pytest.fixture
def inside(image_tar, scratch):
    """The directory that the outer container has at /mnt; the inner storage is a disk's."""
    top = f"{scratch}/nested"
    os.mkdir(top)
    os.mkdir(f"{top}/graph")
    os.link(image_tar, f"{top}/image.tar")
    return top


def test_podman_in_podman_has_its_limits(podman, program, inside):
    places = {"/usr": "/usr", "/etc": "/etc", ROOT: ROOT, **PROGRAMS}
    words = [f"--volume={source}:{target}:ro" for source, target in places.items()]
    words += [f"--volume={inside}:/mnt", "--tmpfs=/run", "--tmpfs=/tmp", "--tmpfs=/var/lib"]
    script = SCRIPT.format(image=IMAGE, program=program)
    outer = ["--privileged", "--cgroupns=private", *words, IMAGE, "sh", "-c", script]
    result = podman.run(*outer, timeout=SLOW_S)

    assert result.out == f"0::/\n{32 << 20}\n9\n"
