"""buildah, with the storage of podman and the runtime under test."""

from __future__ import annotations

from typing import Any

from integration.runtime import Result, call

IMAGE = "localhost/box"


class Buildah:
    def __init__(self, program: str, environment: dict[str, str]) -> None:
        self.program = program
        self.environment = environment

    def __call__(self, *words: str, **options: Any) -> Result:
        return call(["buildah", *words], env=self.environment, **options)

    def container(self) -> str:
        """Make a working container and return its name."""
        return self("from", "--pull-never", IMAGE).ok().out.strip()

    def run_words(self, *words: str) -> list[str]:
        """Return the words of `buildah run` with the runtime under test."""
        return ["run", "--runtime", self.program, "--isolation", "oci", "--network", "none", *words]

    def run(self, *words: str, **options: Any) -> Result:
        return self(*self.run_words(*words), **options)

    def build(self, text: str, directory: str, *flags: str) -> Result:
        """Build an image from the text of a Containerfile."""
        with open(f"{directory}/Containerfile", "w") as out:
            out.write(text)
        words = ["--runtime", self.program, "--isolation", "oci", "--network", "none"]
        return self("bud", "--pull-never", *words, *flags, directory)
