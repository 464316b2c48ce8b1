"""Where the store is. C modules only, as in `start`."""

from __future__ import annotations

import posix


def default_path() -> str:
    """Return where this user's store is, whether or not it exists."""
    given = _variable(b"AISBX_STORE")
    if given:
        return absolute(given)
    if posix.geteuid() == 0:
        return "/var/lib/aisbx"
    home = _variable(b"XDG_DATA_HOME")
    if home:
        return absolute(f"{home}/aisbx")
    home = _variable(b"HOME")
    if not home:
        import os

        home = os.path.expanduser("~")
    return absolute(f"{home}/.local/share/aisbx")


def absolute(path: str) -> str:
    """Return a path from the root, without parts that lead back."""
    if path.startswith("/") and "/." not in path and "//" not in path:
        return path.rstrip("/") or "/"
    import os

    return os.path.abspath(path)


def _variable(name: bytes) -> str:
    return posix.environ.get(name, b"").decode(errors="surrogateescape")
