"""A mount namespace that a process of its own keeps, to be joined by path."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class MountNamespace:
    """`with MountNamespace() as one`; the flags are those of unshare(1)."""

    def __init__(self, *flags: str) -> None:
        words = ["unshare", "--mount", *flags, "sh", "-c", "echo; read x"]
        self._process = subprocess.Popen(words, stdin=-1, stdout=-1)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self.pid = self._process.pid
        self.path = f"/proc/{self.pid}/ns/mnt"
        self.name = os.readlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(b"\n")

    def mounts(self) -> list[tuple[str, str]]:
        """Return (where, kind of file system) of all that is mounted there, in order."""
        with open(f"/proc/{self.pid}/mountinfo") as text:
            lines = [line.split() for line in text]
        return [(fields[4], fields[fields.index("-") + 1]) for fields in lines]
