"""Docker: one key of daemon.json, which knows no drop-ins.

The file is edited as text: whatever else stands there keeps every blank.
"""

from __future__ import annotations

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.register.change import Change, Registration, quoted, read

_KEY, _NAME, _PROGRAM = "runtimes", "aisbx", "aisbx-runtime"
_WHITE = " \t\r\n"
_UNIT = "    "


@record
class _Member:
    """A member of a JSON object: key and value with their places in the text."""

    key: str
    value: object
    begin: int
    value_begin: int
    end: int


@record
class _Object:
    """A JSON object in a text: the place behind `{`, that of `}`, its members."""

    begin: int
    end: int
    members: tuple[_Member, ...]

    def find(self, key: str) -> _Member | None:
        """Return the member of this name."""
        return next((one for one in self.members if one.key == key), None)


def registration(program: str, etc: str, *, remove: bool = False) -> Registration:
    """Return what Docker needs."""
    path = f"{etc}/docker/daemon.json"
    backup = f"{path}.before-aisbx"
    before, kept = read(path), read(backup)
    if remove:
        changes = _removal(path, before, backup, kept)
    else:
        after = with_runtime(_text_of(before, path), program, path).encode()
        changes = [Change(path, before, after)]
        if before is not None and kept is None and after != before:
            mode = os.lstat(path).st_mode & 0o7777
            changes.insert(0, Change(backup, None, before, mode, is_backup=True))
    return Registration(
        "docker",
        tuple(changes),
        # A reload keeps the runtimes that are there when the key `runtimes` is not.
        restart=f"systemctl {'restart' if remove else 'reload'} docker",
        use="docker run --runtime aisbx IMAGE",
    )


def _removal(path: str, before: bytes | None, backup: str, kept: bytes | None) -> list[Change]:
    if before is None:
        return [Change(path, None, None)]
    text = _text_of(before, path)
    rest = without_runtime(text, path)
    # No backup and nothing left: then register has made the file.
    is_made = rest != text and kept is None and not _object_at(rest, _start(rest)).members
    after = None if is_made else rest.encode()
    changes = [Change(path, before, after)]
    if kept is not None and kept == after:
        changes.append(Change(backup, kept, None, is_backup=True))
    return changes


def _text_of(data: bytes | None, path: str) -> str:
    try:
        return (data or b"").decode()
    except UnicodeDecodeError as error:
        raise HostError(f"{path} is not JSON", why=str(error), hint="repair it") from error


def with_runtime(text: str, program: str, path: str) -> str:
    """Return daemon.json with the runtime. Raises HostError if another `aisbx` is there."""
    value = {"path": program}
    if not text.strip():
        text = "{}\n"
    top = _parsed(text, path)
    runtimes = top.find(_KEY)
    unit = _unit_of(text, top)
    if runtimes is None:
        return _inserted(text, top, _KEY, {_NAME: value}, unit, depth=1)
    inner = _object_at(text, runtimes.value_begin)
    found = inner.find(_NAME)
    if found is None:
        return _inserted(text, inner, _NAME, value, unit, depth=2)
    if not _is_ours(found.value):
        raise HostError(
            f"{path} has another runtime of the name aisbx, and stays as it is",
            where="runtimes.aisbx",
            hint="rename it, or write what you want there by hand",
        )
    if found.value == value:
        return text
    path_member = _object_at(text, found.value_begin).members[0]
    return text[: path_member.value_begin] + quoted(program) + text[path_member.end :]


def without_runtime(text: str, path: str) -> str:
    """Return daemon.json without the runtime, and without `runtimes` if nothing is left there."""
    if not text.strip():
        return text
    top = _parsed(text, path)
    runtimes = top.find(_KEY)
    if runtimes is None:
        return text
    inner = _object_at(text, runtimes.value_begin)
    found = inner.find(_NAME)
    if found is None or not _is_ours(found.value):
        return text
    if len(inner.members) == 1:
        return _cut(text, top, runtimes)
    return _cut(text, inner, found)


def _is_ours(value: object) -> bool:
    """Tell whether this is what we write: a path to a program of our name, and nothing else."""
    if not jsontext.is_object(value) or set(value) != {"path"}:
        return False
    path = value["path"]
    return isinstance(path, str) and os.path.basename(path) == _PROGRAM


def _parsed(text: str, path: str) -> _Object:
    """Return the top of daemon.json. Raises HostError for what Docker would not take either."""
    try:
        value = jsontext.parse(text)
    except (ValueError, RecursionError) as error:
        raise HostError(
            f"{path} is not JSON", why=str(error), hint="repair it: dockerd cannot read it either"
        ) from error
    runtimes = value.get(_KEY, {}) if jsontext.is_object(value) else None
    if not jsontext.is_object(runtimes):
        where = _KEY if jsontext.is_object(value) else ""
        raise HostError(f"{path}: expected an object", where=where, hint="repair it")
    top = _object_at(text, _start(text))
    if len({member.key for member in top.members}) != len(top.members):
        raise HostError(f"{path} has a key twice, and stays as it is", hint="remove one of them")
    return top


def _start(text: str) -> int:
    return len(text) - len(text.lstrip(_WHITE))


def _object_at(text: str, at: int) -> _Object:
    """Return the object whose `{` stands at this place of a text that is JSON."""
    import json

    decoder = json.JSONDecoder()
    members: list[_Member] = []
    at += 1
    begin = at
    while True:
        at = _skip(text, at)
        if text[at] == "}":
            return _Object(begin, at, tuple(members))
        if text[at] == ",":
            at = _skip(text, at + 1)
        key_begin = at
        key, at = decoder.raw_decode(text, at)
        value_begin = _skip(text, _skip(text, at) + 1)
        value, at = decoder.raw_decode(text, value_begin)
        members.append(_Member(str(key), value, key_begin, value_begin, at))


def _skip(text: str, at: int) -> int:
    while text[at] in _WHITE:
        at += 1
    return at


def _unit_of(text: str, top: _Object) -> str:
    """Return the indentation of one level, "" for a text on one line."""
    if not top.members:
        return _UNIT
    blank = text[top.begin : top.members[0].begin]
    return blank.rpartition("\n")[2] or _UNIT if "\n" in blank else ""


def _inserted(text: str, into: _Object, key: str, value: object, unit: str, *, depth: int) -> str:
    """Return the text with one more member at the end of an object, indented as its others."""
    blank, end = text[into.begin : into.end], into.begin
    comma = ""
    if into.members:
        blank, end, comma = text[into.begin : into.members[0].begin], into.members[-1].end, ","
        unit = unit if "\n" in blank else ""
        blank = blank if unit else " "
    elif unit:
        blank = f"\n{unit * depth}"
    new = f'{comma}{blank}"{key}": {_rendered(value, unit, depth)}'
    if not into.members and unit:
        return f"{text[:end]}{new}\n{unit * (depth - 1)}{text[into.end :]}"
    return f"{text[:end]}{new}{text[end:]}"


def _rendered(value: object, unit: str, depth: int) -> str:
    """Return a value of objects with one member, and of strings, as it stands at this depth."""
    if not jsontext.is_object(value):
        return quoted(str(value))
    inner, outer = (f"\n{unit * (depth + 1)}", f"\n{unit * depth}") if unit else ("", "")
    members = [f'"{key}": {_rendered(one, unit, depth + 1)}' for key, one in value.items()]
    return f"{{{inner}{', '.join(members)}{outer}}}"


def _cut(text: str, of: _Object, member: _Member) -> str:
    """Return the text without one member of an object, and without the comma it needed."""
    index = of.members.index(member)
    if index:
        return text[: of.members[index - 1].end] + text[member.end :]
    if len(of.members) > 1:
        return text[: member.begin] + text[of.members[1].begin :]
    return text[: of.begin] + text[of.end :]
