"""A container that stands still for a moment, and goes on whatever becomes of us."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess

from aisbx_runtime.sandbox.errors import HostError, InputError, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aisbx_runtime.sandbox.snapshots.control import Control

# Says nothing while all is well; the end of its input without a word means that we were killed.
_GUARDIAN = 'read -r word || exec "$@"'


@contextlib.contextmanager
def turn(path: str, waiting: Callable[[], None] | None = None) -> Generator[int]:
    """Be the only one who snapshots or restores a container; yield the lock's fd.

    Whoever inherits the fd has the turn until it ends as well.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def frozen(control: Control, status: str, turn_fd: int, marker: str) -> Generator[None]:
    """Pause a container that runs; what does not run, or is paused already, is left as it is.

    status: what `control` has just said. marker: path of a file that is there while the pause is
    ours. After kill -9 a guardian thaws the container and keeps the turn until it has; should that
    be killed as well, the marker tells the next one, who thaws it at the end.
    """
    if status == "creating":
        raise InputError("the container is just being created", hint="try again")
    ours = os.path.exists(marker)
    if status not in {"created", "running"} and not (status == "paused" and ours):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(marker)
        yield
        return
    os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    guardian = subprocess.Popen(
        ["/bin/sh", "-c", _GUARDIAN, "sh", *control.resume_words()],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(turn_fd,),
        start_new_session=True,
        cwd="/",
    )
    try:
        if status != "paused":
            assert guardian.stdin is not None  # noqa: S101  (a pipe was asked for)
            # Whoever pauses holds it as well: were we killed now, a guardian that did not wait for
            # that would thaw before the container is paused.
            control.pause(guardian.stdin.fileno())
        try:
            yield
        finally:
            _thaw(control)
        os.unlink(marker)
    finally:
        with contextlib.suppress(BrokenPipeError):
            guardian.communicate(b"done\n")


def _thaw(control: Control) -> None:
    try:
        control.resume()
    except SandboxError as error:
        if control.status() != "paused":
            # It has ended meanwhile, or somebody was faster.
            return
        raise HostError(
            "the container stays paused",
            why=str(error),
            hint=" ".join(control.resume_words()),
        ) from error
