"""The door: how the sandbox meets the runtime, its command line and nothing else.

C modules only at the top, as in `start`.
"""

from __future__ import annotations

import posix

from aisbx_runtime.sandbox.errors import HostError, NotFoundError, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    State = dict[str, "State"] | list["State"] | str | int | float | bool | None

NAME = "aisbx-runtime"
# What the interpreter ignores from its start, and no program expects to find so: signal(7).
_SIGPIPE, _SIGXFSZ = 13, 25
_LONGEST_WHY = 2000


class Runtime:
    """An OCI runtime: aisbx-runtime beside `aisbx`, or what AISBX_RUNTIME names."""

    __slots__ = ("program",)

    def __init__(self, program: str) -> None:
        named = posix.environ.get(b"AISBX_RUNTIME", b"")
        self.program = named.decode(errors="surrogateescape") or program

    def spawn(
        self,
        words: list[str],
        *,
        mask: Iterable[int] = (),
        files: tuple[tuple[int, int], ...] = (),
    ) -> int:
        """Start the runtime with these words; return its pid.

        mask: the signals it begins with blocked. files: (number there, fd here), nothing else
        differs from ours. Raises HostError where it cannot be started.
        """
        try:
            return posix.posix_spawn(
                self.program,
                [self.program, *words],
                posix.environ,
                file_actions=[(posix.POSIX_SPAWN_DUP2, fd, number) for number, fd in files],
                setsigmask=mask,
                setsigdef=[_SIGPIPE, _SIGXFSZ],
            )
        except OSError as error:
            raise _not_started(self.program, error) from error

    def call(self, *words: str, held_fds: tuple[int, ...] = ()) -> str:
        """Carry out a verb, which prints what is returned. Raises HostError with what it said.

        held_fds: open in the runtime as well, until it has ended.
        """
        import subprocess

        try:
            done = subprocess.run(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                pass_fds=held_fds,
            )
        except OSError as error:
            raise _not_started(self.program, error) from error
        if done.returncode:
            raise failed(words, done.stderr.decode(errors="backslashreplace"))
        return done.stdout.decode(errors="backslashreplace")

    def state(self, container_id: str) -> dict[str, State] | None:
        """Return what `state` says, or None where the runtime has no such container."""
        import json
        import subprocess

        done = subprocess.run(
            [self.program, "state", container_id],
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            # Which containers there are is asked anew: no error is told apart by its text.
            if container_id not in self.ids():
                return None
            raise failed(("state", container_id), done.stderr.decode(errors="backslashreplace"))
        found: dict[str, State] = json.loads(done.stdout)
        return found

    def ids(self) -> list[str]:
        """Return the ids of all its containers, this store's and others."""
        return self.call("list", "--quiet").split()

    def pause(self, container_id: str, held_fd: int) -> None:
        """Freeze all processes of a container; the runtime holds `held_fd` until that is done."""
        self.call("pause", container_id, held_fds=(held_fd,))

    def resume(self, container_id: str) -> None:
        """Let a frozen container go on."""
        self.call("resume", container_id)

    def kill(self, container_id: str, signal: str) -> None:
        """Send a signal to the first process of a container."""
        self.call("kill", container_id, signal)

    def delete(self, container_id: str, bundle: str) -> None:
        """Kill and delete the container of a bundle; one that is not there is fine.

        The runtime's ids are everybody's: a container of that id on another bundle stays.
        """
        found = self.state(container_id)
        if found is not None and found["bundle"] == bundle:
            self.call("delete", "--force", container_id)


def failed(words: tuple[str, ...], said: str) -> SandboxError:
    """Return the error that a verb has failed, with what the runtime said."""
    lines = said.strip().splitlines()
    hints = [line.strip().removeprefix("hint:").strip() for line in lines if "hint:" in line]
    text = " ".join([line.strip() for line in lines if "hint:" not in line])
    return HostError(
        f"the runtime cannot {words[0]}",
        where=words[-1],
        why=text.removeprefix(f"{NAME}: ")[:_LONGEST_WHY] or "it did not say why",
        hint=hints[0] if hints else "",
    )


def _not_started(program: str, error: OSError) -> SandboxError:
    import errno

    kind = NotFoundError if error.errno == errno.ENOENT else HostError
    return kind(
        "the runtime cannot be started",
        where=program,
        why=f"execve: {errno.errorcode.get(error.errno or 0, '')}",
        hint="make build, or make install; AISBX_RUNTIME names another runtime",
    )
