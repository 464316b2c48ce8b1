"""A tree of files outside of every container, and what has changed in it."""

from __future__ import annotations

import hashlib
import os
import shutil

from integration import leaks


def _look(path: str) -> tuple[object, ...]:
    found = os.lstat(path)
    text = b""
    if os.path.isfile(path) and not os.path.islink(path):
        with open(path, "rb") as file:
            text = file.read()
    return (found.st_ino, found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, text)


class Canary:
    """A directory with a file, a directory and a device-like file; `changes()` must stay empty."""

    def __init__(self, path: str) -> None:
        self.path = path
        os.makedirs(f"{path}/directory/inner")
        for name in ("file", "directory/file"):
            with open(f"{path}/{name}", "w") as out:
                out.write("untouched")
            os.chown(f"{path}/{name}", 1234, 4321)
            os.chmod(f"{path}/{name}", 0o640)
        # What a container's root without capabilities could read, if it got here.
        self.readable = f"{path}/readable"
        with open(self.readable, "w") as out:
            out.write("untouched")
        os.chmod(self.readable, 0o644)
        self.file = f"{path}/file"
        self.directory = f"{path}/directory"
        self._before = self._snapshot()
        self._mounts = leaks.mounts()

    def _snapshot(self) -> dict[str, tuple[object, ...]]:
        found = {}
        for parent, directories, files in os.walk(self.path):
            for name in (".", *directories, *files):
                found[os.path.join(parent, name)] = _look(os.path.join(parent, name))
        return found

    def changes(self) -> list[str]:
        """Return the paths that are new, gone or other than before, and new mounts of the host."""
        now = self._snapshot()
        paths = {*self._before, *now}
        changed = sorted(path for path in paths if self._before.get(path) != now.get(path))
        return changed + sorted(leaks.mounts() - self._mounts)

    def remove(self) -> None:
        shutil.rmtree(self.path)


def hashes(paths: list[str]) -> dict[str, str]:
    """Return path -> digest of each file."""
    found = {}
    for path in paths:
        with open(path, "rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
