"""What the runtime says and does of one container, for snapshots."""

from __future__ import annotations

import json
import os

from aisbx_runtime.sandbox.containers import STOPPED
from aisbx_runtime.sandbox.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.snapshots.container import Container


class Control:
    """The container on a bundle: found by the bundle's path, as others may have its name."""

    def __init__(self, runtime: Runtime, container: Container) -> None:
        self._runtime = runtime
        self._container = container
        self._id = ""

    def status(self) -> str:
        """Return creating, created, running, paused or stopped.

        Raises InputError where a container uses the bundle that this runtime does not know:
        it could not be paused.
        """
        for one in json.loads(self._runtime.call("list", "--format", "json")) or ():
            if one["bundle"] == self._container.path:
                self._id = str(one["id"])
                return str(one["status"])
        user = mounted_by(self._container.upper)
        if user:
            raise InputError(
                "the bundle is in use, and the runtime knows of no container on it",
                where=self._container.path,
                why=f"process {user} has it mounted",
                hint="end that container, or name its runtime by AISBX_RUNTIME",
            )
        return STOPPED

    def pause(self, held_fd: int) -> None:
        """Freeze it, after `status`; `held_fd` is open until that is done. Raises SandboxError."""
        self._runtime.pause(self._id, held_fd)

    def resume(self) -> None:
        """Thaw it, after `status`. Raises SandboxError."""
        self._runtime.resume(self._id)

    def resume_words(self) -> list[str]:
        """Return the program that thaws it, and its arguments; after `status`."""
        return [self._runtime.program, "resume", self._id]

    def processes(self) -> list[int]:
        """Return its processes, as the host numbers them; after `status`, while it lives."""
        return [int(one) for one in json.loads(self._runtime.call("ps", "-f", "json", self._id))]


def mounted_by(upper: str) -> int:
    """Return a process in whose mount namespace an overlay writes to this directory, or 0."""
    # mountinfo writes blanks and backslashes as octal numbers; overlay writes commas with a `\`.
    escaped = {letter: f"\\{ord(letter):03o}" for letter in "\\ \t\n"}
    option = f"upperdir={''.join(escaped.get(letter, letter) for letter in upper)}".encode()
    seen: set[str] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            with open(f"/proc/{pid}/mountinfo", "rb") as file:
                if any(option in line.rstrip().split(b",") for line in file):
                    return int(pid)
        except OSError:
            # Gone meanwhile, or somebody else's.
            continue
    return 0
