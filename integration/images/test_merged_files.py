"""What overlay shows is what the lists of its two directories say, whatever was done in it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from aisbx_runtime.sandbox.images.layer import ordered
from aisbx_runtime.sandbox.images.merged import merged
from aisbx_runtime.sandbox.tree import walk
from integration import host
from integration.images.packing import Overlay, ground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisbx_runtime.sandbox.tree import Entry


@pytest.fixture
def place(scratch: str) -> Iterator[str]:
    with ground(scratch) as path:
        yield path


def entries(path: str) -> list[Entry]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return walk(fd, digest=True)
    finally:
        os.close(fd)


class Deeds:
    """Random deeds on few names: what is done meets what was done before."""

    def __init__(self, top: str, chance: random.Random) -> None:
        self.top = top
        self.chance = chance

    def path(self) -> str:
        names = [self.chance.choice("abcdef") for _ in range(self.chance.randint(1, 3))]
        return os.path.join(self.top, *names)

    def write(self) -> None:
        with open(self.path(), "a") as file:
            file.write(str(self.chance.random()))

    def mkdir(self) -> None:
        os.mkdir(self.path())

    def unlink(self) -> None:
        os.unlink(self.path())

    def remove(self) -> None:
        shutil.rmtree(self.path())

    def rename(self) -> None:
        os.rename(self.path(), self.path())

    def link(self) -> None:
        os.link(self.path(), self.path(), follow_symlinks=False)

    def symlink(self) -> None:
        os.symlink("target", self.path())

    def chmod(self) -> None:
        os.chmod(self.path(), self.chance.choice([0o700, 0o4755, 0o000]), follow_symlinks=False)

    def chown(self) -> None:
        os.chown(self.path(), self.chance.randint(0, 9), 7, follow_symlinks=False)

    def xattr(self) -> None:
        os.setxattr(self.path(), "user.a", b"v", follow_symlinks=False)

    def make(self, count: int) -> None:
        """Fill the directory."""
        self.some(count, [self.mkdir, self.write, self.link, self.symlink, self.chmod, self.xattr])

    def change(self, count: int) -> None:
        """Do whatever can be done; not too often what spares the rest nothing."""
        often = [self.write, self.mkdir, self.unlink, self.rename, self.link, self.chmod]
        self.some(count, [*often, *often, self.symlink, self.chown, self.xattr, self.remove])

    def some(self, count: int, deeds: list[Callable[[], None]]) -> None:
        while count:
            with contextlib.suppress(OSError, NotImplementedError):
                self.chance.choice(deeds)()
                count -= 1


@pytest.mark.parametrize("seed", range(8))
def test_overlay_shows_what_the_lists_say(place: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  (a test is to be repeated)
    lower = f"{place}/lower"
    os.mkdir(lower)
    os.mkdir(f"{lower}/dev")
    Deeds(lower, chance).make(200)
    overlay = Overlay(lower, f"{place}/overlay")
    try:
        Deeds(overlay.merged, chance).change(60)
        host.umount(f"{overlay.merged}/dev")
        seen = ordered(entries(overlay.merged))
        upper = entries(overlay.upper)
        said = ordered(merged(entries(lower), upper))
        host.mount("tmpfs", f"{overlay.merged}/dev", "tmpfs")
    finally:
        overlay.close()

    assert any(entry.kind == "whiteout" for entry in upper)
    assert any(entry.opaque for entry in upper)
    assert seen == said
