"""The part of `os.path` that the runtime needs: see `system` for the reason.

For paths of the host only: what lies inside a rootfs is resolved by the kernel (`kernel.path`).
"""

from __future__ import annotations

import posix

_DIRECTORY = 0o040000
_TYPE = 0o170000


def join(first: str, *rest: str) -> str:
    """Return the parts with slashes between; an absolute part starts anew."""
    joined = first
    for part in rest:
        if part.startswith("/"):
            joined = part
        elif not joined or joined.endswith("/"):
            joined += part
        else:
            joined += f"/{part}"
    return joined


def normpath(path: str) -> str:
    """Return the path without empty, `.` and `..` parts, by its text alone."""
    absolute = path.startswith("/")
    kept: list[str] = []
    for part in path.split("/"):
        if part in {"", "."}:
            continue
        if part == ".." and (kept[-1:] != [".."] if kept else absolute):
            if kept:
                kept.pop()
        else:
            kept.append(part)
    return ("/" if absolute else "") + "/".join(kept) or "."


def abspath(path: str) -> str:
    """Return the normalised path, from the working directory when it is relative."""
    return normpath(path if path.startswith("/") else join(posix.getcwd(), path))


def split(path: str) -> tuple[str, str]:
    """Return what is before the last slash, and after it."""
    head, slash, tail = path.rpartition("/")
    return (head.rstrip("/") or "/" if slash else ""), tail


def dirname(path: str) -> str:
    """Return what is before the last slash."""
    return split(path)[0]


def basename(path: str) -> str:
    """Return what is after the last slash."""
    return split(path)[1]


def exists(path: str) -> bool:
    """Tell whether something is there; a dangling symlink is nothing."""
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


def isdir(path: str) -> bool:
    """Tell whether a directory is there, or a symlink to one."""
    try:
        return posix.stat(path).st_mode & _TYPE == _DIRECTORY
    except (OSError, ValueError):
        return False
