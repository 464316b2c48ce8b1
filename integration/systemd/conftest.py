"""Fixtures of the tests of the systemd cgroup manager: no unit is left behind by any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from integration.runtime import Runtime
from integration.systemd import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration import leaks
    from integration.bundle import Bundle


class SystemdRuntime(Runtime):
    """A runtime whose cgroups systemd makes: the flag is given to create and run, as by podman."""

    def argv(self, *words: str) -> list[str]:
        makes = words[0] in {"create", "run", "plan"} or "restore" in words
        flags = ["--systemd-cgroup"] if makes else []
        return [self.program, "--root", self.root, *flags, *words]


@pytest.fixture(autouse=True)
def _no_units(systemd: None, _no_leaks: leaks.Snapshot) -> Iterator[None]:
    yield

    assert units.left() == set()


@pytest.fixture
def runtime(
    _no_units: None, _no_leaks: leaks.Snapshot, program: str, state_root: str
) -> Iterator[SystemdRuntime]:
    made = SystemdRuntime(program, state_root)
    yield made
    made.clean(_no_leaks.processes)


@pytest.fixture
def new_scope(new_bundle: Callable[[], Bundle]) -> Callable[..., Bundle]:
    """Make bundles whose scope is in system.slice; `unit` and `cgroup` are its names."""

    def make(**resources: Any) -> Bundle:
        bundle = new_bundle()
        bundle.config["linux"]["cgroupsPath"] = f"system.slice:test:{bundle.id}"
        bundle.resources(**resources)
        return bundle

    return make


@pytest.fixture
def bundle(new_scope: Callable[..., Bundle]) -> Bundle:
    return new_scope()
