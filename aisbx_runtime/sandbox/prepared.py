"""What an image's config became, kept beside its rootfs for the next start: ROOTFS/../start.

A file of marshal, for this interpreter alone, and only as long as everything it was made from is as
it was. It is made again whenever it is missing or stale, so that nothing depends on it.
C modules only, as in `start`.
"""

from __future__ import annotations

import marshal
import posix
import sys

from aisbx_runtime.sandbox.bundle import Base

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.defaults import Json

    # Path, mtime in nanoseconds and size of a file.
    Source = tuple[str, int, int]
    Kept = tuple[
        str, tuple[Source, ...], str, Json, str, list[str], list[str], list[tuple[str, str]]
    ]

FILE = "start"
# What decides how a config.json looks, below the library.
_SOURCES = (
    "profiles/seccomp/default.json",
    "aisbx_runtime/sandbox/defaults.py",
    "aisbx_runtime/sandbox/images/conversion.py",
    "aisbx_runtime/sandbox/inside.py",
    "aisbx_runtime/sandbox/users.py",
    "aisbx_runtime/sandbox/shape.py",
    "aisbx_runtime/sandbox/prepared.py",
)


def load(library: str, store: str, key: str, reference: str) -> Base | None:
    """Return what was kept for rootfs/KEY, or None where there is nothing or it is stale."""
    place = f"{store}/rootfs/{key}"
    try:
        fd = posix.open(f"{place}/{FILE}", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = posix.read(fd, posix.fstat(fd).st_size)
        finally:
            posix.close(fd)
        kept: Kept = marshal.loads(data)  # noqa: S302  (the store is ours)
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if kept[0] != sys.version or kept[1] != sources(library):
        return None
    _, _, digest, config, seccomp, entrypoint, cmd, volumes = kept
    return Base(
        rootfs=f"{place}/rootfs", key=key, reference=reference, digest=digest,
        config=config, seccomp=seccomp, entrypoint=entrypoint, cmd=cmd, volumes=volumes,
    )  # fmt: skip


def keep(library: str, store: str, base: Base) -> None:
    """Write what `load` reads, in one step."""
    kept: Kept = (
        sys.version, sources(library), base.digest, base.config, base.seccomp, base.entrypoint,
        base.cmd, base.volumes,
    )  # fmt: skip
    path = f"{store}/rootfs/{base.key}/{FILE}"
    new = f"{path}.new-{posix.getpid()}"
    fd = posix.open(new, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o600)
    try:
        posix.write(fd, marshal.dumps(kept))
    finally:
        posix.close(fd)
    posix.rename(new, path)


def sources(library: str) -> tuple[Source, ...]:
    """Return the state of the files that config.json is made by. Raises OSError."""
    found = [(f"{library}/{name}", posix.stat(f"{library}/{name}")) for name in _SOURCES]
    return tuple([(path, status.st_mtime_ns, status.st_size) for path, status in found])
