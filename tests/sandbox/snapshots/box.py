"""A sandbox that does not run, and whose upper directory the tests fill by hand."""

from __future__ import annotations

import json
import os

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.snapshots.container import container_of
from aisbx_runtime.sandbox.snapshots.create import create

KEY = "0" * 64 + "-v1"
DIGEST = f"sha256:{'0' * 64}"
REFERENCE = "docker://docker.io/library/alpine:latest"
NAMESPACE = "trusted" if os.geteuid() == 0 else "user"


class Stopped:
    """What the runtime says of a container that has ended."""

    def status(self):
        return "stopped"

    def processes(self):
        return []

    def resume_words(self):
        return ["true"]


class Box:
    """A bundle without anything that could run."""

    def __init__(self, store, name, namespace=NAMESPACE):
        self.store = store
        self.path = store.place("containers", name)
        self.upper = f"{self.path}/upper"
        os.makedirs(self.upper)
        facts = {
            "version": 1,
            "id": name,
            "image": {"reference": REFERENCE, "digest": DIGEST},
            "rootfs": KEY,
            "upper": self.upper,
            # The ids of a plain user's files are root's inside.
            "mapping": None
            if os.geteuid() == 0
            else {"uid": [[0, os.getuid(), 1]], "gid": [[0, os.getgid(), 1]]},
            "snapshot": None,
            "created": "2026-01-01T00:00:00Z",
            "keep": True,
        }
        with open(f"{self.path}/aisbx.json", "w") as file:
            json.dump(facts, file)
        options = [] if namespace == "trusted" else ["userxattr"]
        root = {"destination": "/", "type": "overlay", "options": options}
        with open(f"{self.path}/config.json", "w") as file:
            json.dump({"mounts": [root]}, file)
        self.container = container_of(containers.named(store, name))

    def write(self, path, text, mtime_ns=10**18):
        """Write a file that was changed long ago."""
        place = f"{self.upper}/{path}"
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w") as file:
            file.write(text)
        os.utime(place, ns=(mtime_ns, mtime_ns))

    def snapshot(self, name=""):
        return create(self.store, self.container, Stopped(), name=name, progress=Silence())
