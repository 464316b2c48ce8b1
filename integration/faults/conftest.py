"""The faulty runtime, and a container whose namespaces are joined."""

from __future__ import annotations

import os

import pytest

from integration.faults.faulty import Faulty


@pytest.fixture
def faulty(runtime, scratch, _no_leaks):
    with open(runtime.program, "rb") as program:
        if b"python" not in program.readline():
            pytest.skip(f"faults are planted in Python: {runtime.program} is another program")
    directory = f"{scratch}/faults"
    os.makedirs(directory, exist_ok=True)
    return Faulty(runtime, directory)


@pytest.fixture
def other(runtime, new_bundle):
    """A container with a user namespace that runs: what others join."""
    bundle = new_bundle().user_namespace()
    bundle.config["mounts"] = [
        one for one in bundle.config["mounts"] if one["type"] not in {"cgroup", "sysfs"}
    ]
    return runtime.started(bundle)
