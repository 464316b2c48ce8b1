"""Who `USER[:GROUP]` is inside an image: its /etc/passwd and /etc/group, read as data.

The image is hostile: no NSS, and what these files are is seen by `inside`.
"""

from __future__ import annotations

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.inside import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.defaults import Json, Value

# What the kernel calls no id: setresuid(2).
_LARGEST_ID = (1 << 32) - 2


def user_of(rootfs: str, text: str) -> Json:
    """Return process.user for `USER[:GROUP]`, names or numbers. Raises InputError.

    Names, and the group of a user without one, are those of the image (conversion.md).
    """
    name, colon, group = text.partition(":")
    uid, gid = _number(name), _number(group)
    if colon and group and not name:
        raise InputError(f"user {text!r} names no user", hint="write USER or USER:GROUP")
    found = _passwd_entry(rootfs, name, uid) if uid is None or not group else None
    if uid is None:
        if found is None:
            raise InputError(
                f"the image has no user {name!r}",
                where=f"{rootfs}/etc/passwd",
                hint="write a number, or a user of the image",
            )
        uid = found[1]
    if group:
        gid = gid if gid is not None else _group_id(rootfs, group)
        return {"uid": uid, "gid": gid}
    user: Json = {"uid": uid, "gid": found[2] if found else 0}
    # conversion.md: not for a number.
    more: list[Value] = list(_memberships(rootfs, name)) if _number(name) is None else []
    if more:
        user["additionalGids"] = more
    return user


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    value = int(text[:20])
    if value > _LARGEST_ID:
        raise InputError(f"{text[:40]!r} is no id", hint=f"ids end at {_LARGEST_ID}")
    return value


def _passwd_entry(rootfs: str, name: str, uid: int | None) -> tuple[str, int, int] | None:
    for fields in _entries(rootfs, "passwd", 4):
        found_uid, found_gid = _id(fields[2]), _id(fields[3])
        if found_uid is None or found_gid is None:
            continue
        if found_uid == uid if uid is not None else fields[0] == name:
            return fields[0], found_uid, found_gid
    return None


def _group_id(rootfs: str, group: str) -> int:
    for fields in _entries(rootfs, "group", 3):
        found = _id(fields[2])
        if fields[0] == group and found is not None:
            return found
    raise InputError(
        f"the image has no group {group!r}",
        where=f"{rootfs}/etc/group",
        hint="write a number, or a group of the image",
    )


def _memberships(rootfs: str, name: str) -> list[int]:
    found: list[int] = []
    for fields in _entries(rootfs, "group", 4):
        gid = _id(fields[2])
        if gid is not None and name in fields[3].split(",") and gid not in found:
            found.append(gid)
    return found


def _id(text: str) -> int | None:
    try:
        return _number(text)
    except InputError:
        return None


def _entries(rootfs: str, name: str, least: int) -> list[list[str]]:
    """Return the lines of /etc/NAME that have as many fields; none where there is no such file."""
    data = read_file(rootfs, f"/etc/{name}", hint="name the user by numbers, UID:GID")
    lines = data.decode(errors="surrogateescape").split("\n") if data is not None else []
    return [fields for fields in (line.split(":") for line in lines) if len(fields) >= least]
