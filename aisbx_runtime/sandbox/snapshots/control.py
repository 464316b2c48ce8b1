"""What the runtime says and does of one container, for snapshots."""

from __future__ import annotations

import json
import os

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.containers import Sandbox
    from aisbx_runtime.sandbox.runtime import Runtime


class Control:
    """One container of the runtime, found by its bundle: an id may be another bundle's."""

    def __init__(self, runtime: Runtime, sandbox: Sandbox) -> None:
        self._runtime = runtime
        self._sandbox = sandbox

    def status(self) -> str:
        """Return creating, created, running, paused or stopped.

        Raises InputError where a container uses the bundle that this runtime does not know:
        it could not be paused.
        """
        found = containers.status_of(self._runtime, self._sandbox).status
        if found == containers.STOPPED:
            user = mounted_by(self._sandbox.upper)
            if user:
                raise InputError(
                    "the bundle is in use, and the runtime knows of no container on it",
                    where=self._sandbox.path,
                    why=f"process {user} has it mounted",
                    hint="end that container, or name its runtime by AISBX_RUNTIME",
                )
        return found

    def pause(self) -> None:
        """Freeze it."""
        self._runtime.pause(self._sandbox.name)

    def resume(self) -> None:
        """Thaw it."""
        self._runtime.resume(self._sandbox.name)

    def resume_words(self) -> list[str]:
        """Return the program that thaws it, and its arguments."""
        return [self._runtime.program, "resume", self._sandbox.name]

    def processes(self) -> list[int]:
        """Return its processes, as the host numbers them."""
        said: list[int] = json.loads(
            self._runtime.call("ps", "--format", "json", self._sandbox.name)
        )
        return said


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
