"""Canaries, hostile programs, and attackers that run beside the runtime."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from integration import host
from integration.security.canary import Canary
from integration.terminal import ConsoleSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = __file__.rpartition("/")[0]


@pytest.fixture(scope="session")
def tool(scratch: str) -> Callable[..., str]:
    """Compile programs/NAME.c, static unless told otherwise, and return its host path."""
    reason = host.lacks_program("cc")
    if reason:
        pytest.skip(reason)
    made: dict[tuple[str, ...], str] = {}

    def compiled(name: str, *flags: str) -> str:
        key = (name, *flags)
        if key not in made:
            made[key] = f"{scratch}/tool-{len(made)}-{name}"
            how = flags or ("-static", "-no-pie")
            source = f"{HERE}/programs/{name}.c"
            argv = ["cc", "-O1", "-Wall", *how, "-o", made[key], source]
            subprocess.run(argv, check=True)
        return made[key]

    return compiled


@pytest.fixture
def canary(_no_leaks: object, scratch: str) -> Iterator[Canary]:
    """A tree of the host that no container has any business with."""
    made = Canary(f"{scratch}/canary")
    yield made
    made.remove()


@pytest.fixture
def beside(_no_leaks: object) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a program that runs until the test is over."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, **options))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.wait()


@pytest.fixture
def console(_no_leaks: object, bundle) -> Iterator[ConsoleSocket]:
    made = ConsoleSocket(f"{bundle.path}/console")
    yield made
    made.close()
