"""podman, called as a person calls it."""

from __future__ import annotations

from typing import Any

from integration.runtime import Result, call

IMAGE = "localhost/box"
SLOW_S = 120  # several engines may share one machine


class Podman:
    """podman on top of the runtime under test."""

    def __init__(self, program: str, environment: dict[str, str], prefix: list[str]) -> None:
        self.program = program
        self.environment = environment
        self.prefix = prefix

    def argv(self, *words: str, runtime: str | None = None) -> list[str]:
        return [*self.prefix, "podman", "--runtime", runtime or self.program, *words]

    def __call__(self, *words: str, runtime: str | None = None, **options: Any) -> Result:
        options.setdefault("env", self.environment)
        options.setdefault("timeout", SLOW_S)
        return call(self.argv(*words, runtime=runtime), **options)

    def run(self, *words: str, **options: Any) -> Result:
        """Run a container that is removed at its end, without a network of its own."""
        return self("run", "--rm", "--network", "none", *words, **options)

    def up(self, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        """Start a container in the background and return its id."""
        return self("run", "-d", "--network", "none", *words, IMAGE, *command).ok().out.strip()

    def inspect(self, container: str, template: str) -> str:
        return self("inspect", "--format", template, container).ok().out.strip()
