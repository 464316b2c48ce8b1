"""What the runtime is asked of one sandbox, or of a container on a bundle of ours elsewhere."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.runtime import Runtime


class Control:
    """The container on the bundle at `path`; snapshots let it stand still by this."""

    def __init__(self, runtime: Runtime, path: str) -> None:
        self._runtime = runtime
        self._path = path
        self._id = ""

    def status(self) -> str:
        """Return creating, created, running, paused or stopped; empty: the runtime knows none."""
        for one in json.loads(self._runtime.call("list", "--format", "json")) or ():
            if one["bundle"] == self._path:
                self._id = str(one["id"])
                return str(one["status"])
        return ""

    def pause(self) -> None:
        """Freeze it. Raises SandboxError."""
        self._runtime.pause(self._known_id())

    def resume(self) -> None:
        """Thaw it. Raises SandboxError."""
        self._runtime.resume(self._known_id())

    def resume_words(self) -> list[str]:
        """Return the program that thaws it, and its arguments."""
        return [self._runtime.program, "resume", self._known_id()]

    def processes(self) -> list[int]:
        """Return its processes, as the host numbers them; none where it does not run."""
        if self.status() not in {"created", "running", "paused"}:
            return []
        return [int(one) for one in json.loads(self._runtime.call("ps", "-f", "json", self._id))]

    def _known_id(self) -> str:
        if not self._id:
            self.status()
        return self._id
