"""What a service said on its way, and what a store holds."""

from __future__ import annotations

import os


class Steps:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.total = 0

    def step(self, what: str, total_bytes: int = 0) -> None:
        self.steps.append(what)
        self.total = total_bytes

    def advance(self, done_bytes: int) -> None:
        self.sizes.append((done_bytes, self.total))


def tree(path: str) -> dict[str, str]:
    """Return what is below a directory: relative path -> kind, mode, and content or target."""
    found = {}
    for parent, directories, files in os.walk(path):
        for name in (*directories, *files):
            full = os.path.join(parent, name)
            facts = os.lstat(full)
            text = f"{facts.st_mode:o} {facts.st_uid}:{facts.st_gid}"
            if os.path.islink(full):
                text += f" -> {os.readlink(full)}"
            elif os.path.isfile(full):
                with open(full, "rb") as file:
                    text += f" {file.read(100)!r} {facts.st_nlink}"
            found[os.path.relpath(full, path)] = text
    return found


def held(store_path: str) -> dict[str, list[str]]:
    """Return the names in each part of a store that a pull changes."""
    parts = ("layout/blobs/sha256", "refs", "rootfs", "work")
    return {part: sorted(os.listdir(f"{store_path}/{part}")) for part in parts}
