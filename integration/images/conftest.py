"""Fixtures: a store of its own, images beside it, and how to ask for one."""

from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from integration import host
from integration.engines.conftest import (  # noqa: F401  (fixtures)
    containers_etc,
    image_tar,
    podman,
    podman_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    reason = host.lacks_program("skopeo", "umoci", "zstd", "setpriv")
    if reason:
        pytest.skip(reason)


@pytest.fixture
def ground(scratch: str) -> Iterator[str]:
    """A directory of this test alone."""
    path = f"{scratch}/images-{next(NUMBERS)}"
    os.mkdir(path)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def store(ground: str):
    from aisbx_runtime.sandbox.store import Store

    return Store.open(f"{ground}/store")
