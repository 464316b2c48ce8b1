"""Where the lab keeps what it has built, each thing once, by the name of its recipe.

One directory serves every checkout of this machine. A thing is built beside its place and renamed
into it; who uses it holds a shared lock, so that only what nobody uses is ever removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOP = os.environ.get("AISBX_LAB", "/var/cache/aisbx-lab")
RUN = "run-"
UNUSED_S = 24 * 3600  # other checkouts may have other recipes: what they use is kept


def say(text: str) -> None:
    print(f"lab: {time.strftime('%H:%M:%S')} {text}", flush=True)


def key(*parts: str) -> str:
    """Return a short name of a recipe: equal parts, equal name."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def top() -> str:
    """Return the directory of the lab, which only its owner may read: root runs what is in it."""
    os.makedirs(TOP, mode=0o700, exist_ok=True)
    found = os.stat(TOP, follow_symlinks=False)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SystemExit(f"lab: {TOP} can be written by others (hint: AISBX_LAB=DIRECTORY)")
    return TOP


def is_built(name: str) -> bool:
    return os.path.isdir(f"{TOP}/{name}")


@contextlib.contextmanager
def used(name: str, build: Callable[[str], None]) -> Iterator[str]:
    """Yield the path of a thing, built by build(empty directory) where it is missing.

    Who comes while another builds it waits.
    """
    path = f"{top()}/{name}"
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not os.path.isdir(path):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.isdir(path):
                _build(path, build)
            fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(lock.fileno())
        yield path


def _build(path: str, build: Callable[[str], None]) -> None:
    begin = time.monotonic()
    new = f"{path}.new"
    remove(new)
    os.mkdir(new, 0o755)
    try:
        build(new)
        os.rename(new, path)
    except BaseException:
        remove(new)
        raise
    say(f"built {path} in {time.monotonic() - begin:.0f} s")
    prune()


def prune(unused_s: float = UNUSED_S) -> list[str]:
    """Remove what nobody has used for so long, and what killed guests left; return the names."""
    removed = []
    for entry in sorted(os.listdir(top())):
        path = f"{TOP}/{entry}"
        name = entry.removesuffix(".lock")
        if name == entry:
            continue
        of_guest = name.startswith(RUN)
        with open(path, "r+") as lock:
            age_s = time.time() - os.stat(lock.fileno()).st_mtime
            if age_s < (min(unused_s, 60) if of_guest else unused_s):
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if os.path.isdir(f"{TOP}/{name}"):
                removed.append(name)
            remove(f"{TOP}/{name}")
            remove(f"{TOP}/{name}.new")
            if of_guest:  # another's lock stays: somebody may be waiting for it
                os.unlink(path)
    return removed


def remove(path: str) -> None:
    """Remove a tree, never through a mount point: one filesystem only."""
    if os.path.ismount(path):
        raise SystemExit(f"lab: {path} is a mount point")
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def run_directory() -> Iterator[str]:
    """Yield an empty directory of one guest; who kills this run leaves it to the next prune."""
    path = tempfile.mkdtemp(prefix=RUN, dir=top())
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            remove(path)
            os.unlink(f"{path}.lock")


@contextlib.contextmanager
def cpu() -> Iterator[int]:
    """Yield a processor to which no other guest is bound, or the last one if all are taken."""
    processors = sorted(os.sched_getaffinity(0), reverse=True)
    with contextlib.ExitStack() as stack:
        for number in processors:
            lock = stack.enter_context(open(f"{top()}/cpu-{number}", "w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
        yield processors[0]
