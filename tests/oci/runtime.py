"""Calling the runtime of this checkout, with a rootfs of busybox alone."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = f"{ROOT}/bin/aisbx-runtime"


class Runtime:
    """The runtime with a state root of its own, and one bundle whose `config` tests mutate."""

    def __init__(self, place):
        busybox = shutil.which("busybox")
        for path, package in ((PROGRAM, "make build"), (busybox, "apt-get install busybox-static")):
            if path is None or not os.path.exists(path):
                pytest.skip(f"{path} is missing: {package}")
        self.place = f"{place}"
        self.bundle = f"{place}/bundle"
        self.rootfs = f"{place}/bundle/rootfs"
        self.pid_file = f"{place}/pid"
        self.made: list[str] = []
        os.makedirs(f"{self.rootfs}/proc")
        shutil.copy(busybox, f"{self.rootfs}/busybox")
        self.config = {
            "ociVersion": "1.2.1",
            "root": {"path": "rootfs"},
            "process": {"args": ["/busybox", "sleep", "1000"], "cwd": "/", "user": {}},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [
                    {"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
                ],
                "cgroupsPath": f"/aisbx-unit-{os.getpid()}-{os.path.basename(self.place)}",
            },
        }

    def __call__(self, *words, **options):
        """Run one verb to its end; its output goes to a file, which containers may keep open."""
        argv = [PROGRAM, "--root", f"{self.place}/state", *words]
        with open(f"{self.place}/said", "w+") as said:
            done = subprocess.run(
                argv, stdout=said, stderr=said, stdin=subprocess.DEVNULL, check=False, **options
            )
            said.seek(0)
            return done.returncode, said.read()

    def create(self, container_id="c", **options):
        with open(f"{self.bundle}/config.json", "w") as file:
            json.dump(self.config, file)
        self.made.append(container_id)
        words = ("create", "--bundle", self.bundle, "--pid-file", self.pid_file, container_id)
        return self(*words, **options)

    def pid(self) -> int:
        with open(self.pid_file) as file:
            return int(file.read())

    def wait(self) -> None:
        """Return when container init has ended."""
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.pid())
            select.select([pidfd], [], [])
            os.close(pidfd)

    def clean(self) -> None:
        for container_id in self.made:
            self("delete", "--force", container_id)


@contextlib.contextmanager
def runtime(place):
    made = Runtime(place)
    try:
        yield made
    finally:
        made.clean()
