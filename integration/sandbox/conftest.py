"""A store with images of busybox for the tests here, and `aisbx` to call on it."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from integration import host
from integration.leaks import PATIENCE_S
from integration.runtime import PATH, Result, call
from integration.sandbox.filled_store import Images

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Aisbx:
    """The program on a store of its own. AISBX_TEST_RUNTIME names the runtime below it."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.store = images.store
        self.program = f"{ROOT}/bin/aisbx"
        self.environment = {"PATH": PATH, "AISBX_STORE": self.store.path}
        if "AISBX_TEST_RUNTIME" in os.environ:
            self.environment["AISBX_RUNTIME"] = os.environ["AISBX_TEST_RUNTIME"]

    def __call__(self, *words: str, **options: Any) -> Result:
        environment = {**self.environment, **options.pop("more_env", {})}
        return call([self.program, *words], env=environment, **options)

    def sh(self, script: str, *options: str, image: str = "busybox") -> Result:
        """Run a script in a sandbox that goes with it."""
        return self("run", *options, image, "--", "/bin/sh", "-c", script)

    def sandboxes(self) -> list[str]:
        """Return the names of what is in the store."""
        return sorted(os.listdir(self.store.place("containers")))

    def wait_clean(self) -> None:
        """Wait until nothing half-made is left: bundles are removed after the program's end."""
        deadline = time.monotonic() + PATIENCE_S
        while left := os.listdir(self.store.place("work")):
            assert time.monotonic() < deadline, left
            time.sleep(0.01)


@pytest.fixture(scope="session")
def images(scratch: str) -> Iterator[Images]:
    reason = host.lacks_program("umoci") or host.lacks_program("busybox")
    if reason:
        pytest.skip(reason)
    path = f"{scratch}/store-{os.urandom(4).hex()}"
    made = Images(path, f"{scratch}/sandbox-scratch")
    made.add("busybox", Cmd=["/bin/sh", "-c", "echo default"])
    yield made
    shutil.rmtree(path)


@pytest.fixture
def aisbx(images: Images) -> Iterator[Aisbx]:
    made = Aisbx(images)
    yield made
    for name in made.sandboxes():
        made("destroy", name)

    assert made.sandboxes() == []
    made.wait_clean()
