"""Files of engines as they are and as they are to be; what others wrote is never changed.

A file of ours says so in its first line, with a checksum of the rest: once somebody has edited it,
it is theirs.
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.record import record

_MARK = "# Written by aisbx-runtime, which changes or removes it only while this holds: "
_SHEBANG = "#!"
_REGULAR, _TYPE, _MODE = 0o100000, 0o170000, 0o7777


@record
class Change:
    """One file. before, after: what it holds, None is no file. mode: that of a new file."""

    path: str
    before: bytes | None
    after: bytes | None
    mode: int = 0o644
    is_backup: bool = False

    def word(self) -> str:
        """Return what becomes of the file."""
        if self.before == self.after:
            return "unchanged" if self.after is not None else "absent"
        if self.after is None:
            return "removed"
        return "written" if self.before is None else "changed"


@record
class Registration:
    """What one engine needs.

    changes: in the order in which they are made. restart: what makes the engine read them. use: a
    command that uses the runtime. left: what a person has to do, a paragraph each.
    """

    engine: str
    changes: tuple[Change, ...]
    restart: str
    use: str
    left: tuple[str, ...] = ()


def marked(text: str) -> bytes:
    """Return the text with our mark, as its first line or below its #! line."""
    head, rest = _split(text)
    return f"{head}{_MARK}{_sum_of(head + rest)}\n{rest}".encode()


def is_ours(data: bytes) -> bool:
    """Tell whether `marked` made this, and nobody has changed it since."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    head, rest = _split(text)
    mark, _, rest = rest.partition("\n")
    return mark == _MARK + _sum_of(head + rest)


def _split(text: str) -> tuple[str, str]:
    if not text.startswith(_SHEBANG):
        return "", text
    head, newline, rest = text.partition("\n")
    return head + newline, rest


def _sum_of(text: str) -> str:
    from binascii import crc32

    # Against edits, not against enemies.
    return f"{crc32(text.encode()):08x}"


def of_marked(path: str, text: str | None, mode: int = 0o644) -> Change:
    """Return the change that makes `path` our file with this text, or removes it.

    Raises HostError if somebody else's file is there.
    """
    before = read(path)
    if before is not None and not is_ours(before):
        raise HostError(
            f"{path} was written or edited by somebody else, and stays as it is",
            hint="move it away, or change it by hand: register --print shows what is needed",
        )
    return Change(path, before, None if text is None else marked(text), mode)


def read(path: str) -> bytes | None:
    """Return what a file holds, None if there is none. Raises HostError if it is no plain file."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if found.st_mode & _TYPE != _REGULAR:
        # A rename would replace a symlink and leave the file behind it as it is.
        raise HostError(
            f"{path} is no regular file, and stays as it is",
            hint="put into the file that it stands for what --print shows",
        )
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    parts: list[bytes] = []
    try:
        while part := os.read(fd, 1 << 16):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def apply(change: Change) -> None:
    """Make one change, whole or not at all. Raises OSError."""
    if change.before == change.after:
        return
    if change.after is None:
        os.unlink(change.path)
        return
    os.makedirs(os.path.dirname(change.path), 0o755)
    new = f"{change.path}.new-{os.getpid()}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        rest = change.after
        while rest:
            rest = rest[os.write(fd, rest) :]
        _set_rights(fd, change)
        os.fsync(fd)
        os.rename(new, change.path)
    except BaseException:
        os.unlink(new)
        raise
    finally:
        os.close(fd)


def _set_rights(fd: int, change: Change) -> None:
    if change.before is None:
        os.fchmod(fd, change.mode)
        return
    found = os.lstat(change.path)
    if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(fd, found.st_uid, found.st_gid)
    os.fchmod(fd, found.st_mode & _MODE)


def quoted(path: str) -> str:
    """Return a path as a string of TOML and JSON alike. Raises HostError if it cannot be one."""
    if not path.isprintable():
        raise HostError(
            f"{path!r} cannot stand in a configuration file", hint="install below another PREFIX"
        )
    return '"{}"'.format(path.replace("\\", "\\\\").replace('"', '\\"'))
