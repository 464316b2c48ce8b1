"""A store with an image's rootfs and a sandbox on it that does not run."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.sandbox.store import Store
from tests.sandbox.snapshots.box import KEY, Box


@pytest.fixture
def store(tmp_path):
    made = Store.open(str(tmp_path / "store"))
    os.makedirs(made.place("rootfs", KEY, "rootfs"))
    return made


@pytest.fixture
def rootfs(store):
    return store.place("rootfs", KEY, "rootfs")


@pytest.fixture
def box(store):
    return Box(store, "box")
