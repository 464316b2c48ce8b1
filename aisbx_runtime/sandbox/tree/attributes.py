"""Extended attributes of an upper directory: overlay's own, the container's, and the ids in them.

All go by `/proc/self/fd/N` of an O_PATH fd, which reaches symbolic links, fifos and devices without
opening them: xattr(7) by path follows only that magic link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from dataclasses import dataclass

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.tree.entry import raw_of, text_of
from aisbx_runtime.sandbox.tree.mapping import translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.tree.mapping import Mapping, Ranges

# Labels of this host, or signatures over its inodes: never part of what a container changed.
HOST = ("security.selinux", "security.SMACK64", "security.apparmor", "security.ima", "security.evm")

CAPABILITY = "security.capability"
ACCESS_LISTS = ("system.posix_acl_access", "system.posix_acl_default")


@dataclass(frozen=True, slots=True)
class Overlay:
    """How overlay marks things: `user` where it was mounted with userxattr, else `trusted`."""

    namespace: str = "trusted"

    @property
    def prefix(self) -> str:
        """What its own attributes begin with; those of the other namespace are the container's."""
        return f"{self.namespace}.overlay."

    @property
    def escaped(self) -> str:
        """How a container's own `prefix` is stored in the upper directory (Linux 6.7)."""
        return f"{self.prefix}overlay."


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the extended attributes of a file say."""

    opaque: bool
    whiteout: bool
    rest: tuple[tuple[str, bytes], ...]


NOTHING = Attributes(opaque=False, whiteout=False, rest=())


def read(fd: int, overlay: Overlay, mapping: Mapping | None) -> Attributes:
    """Return the attributes of the file at an O_PATH fd, ids as inside.

    Raises InputError for a file that overlay only refers to (metacopy, redirect_dir).
    """
    path = f"/proc/self/fd/{fd}"
    try:
        names = os.listxattr(path)
    except OSError as error:
        # A filesystem without any.
        if error.errno == errno.EOPNOTSUPP:
            return NOTHING
        raise
    if not names:
        return NOTHING
    opaque = whiteout = False
    rest: list[tuple[str, bytes]] = []
    for given in names:
        name = text_of(os.fsencode(given))
        if name.startswith(HOST):
            continue
        if name.startswith(overlay.prefix) and not name.startswith(overlay.escaped):
            own = name[len(overlay.prefix) :]
            if own in {"redirect", "metacopy"}:
                raise InputError(
                    f"the upper directory refers to its image by {name}",
                    hint="mount the overlay with redirect_dir=off,metacopy=off",
                )
            whiteout = whiteout or own == "whiteout"
            opaque = opaque or (own == "opaque" and _value(path, name) == b"y")
            continue
        value = _value(path, name)
        if value is not None:
            seen = name.replace(overlay.escaped, overlay.prefix, 1)
            rest.append((seen, _with_ids(name, value, mapping, 1)))
    return Attributes(opaque, whiteout, tuple(sorted(rest)))


def write(
    fd: int,
    xattrs: tuple[tuple[str, bytes], ...],
    overlay: Overlay,
    mapping: Mapping | None,
    *,
    opaque: bool = False,
) -> None:
    """Set the attributes of the file at an O_PATH fd; overlay's own are only ever made here."""
    path = f"/proc/self/fd/{fd}"
    if opaque:
        os.setxattr(path, f"{overlay.prefix}opaque", b"y")
    for name, value in xattrs:
        if name.startswith(HOST):
            continue
        stored = name
        if name.startswith(overlay.prefix):
            stored = overlay.escaped + name[len(overlay.prefix) :]
        os.setxattr(path, raw_of(stored), _with_ids(name, value, mapping, 0))


def _value(path: str, name: str) -> bytes | None:
    # Gone meanwhile: the container that owns it may run.
    with contextlib.suppress(OSError):
        return os.getxattr(path, raw_of(name))
    return None


def _with_ids(name: str, value: bytes, mapping: Mapping | None, side: int) -> bytes:
    """Return a value whose ids were those of `side` with those of the other (mapping.py)."""
    if mapping is None:
        return value
    if name == CAPABILITY:
        return _capability(value, mapping.uid, side)
    if name in ACCESS_LISTS:
        return _access_list(value, mapping, side)
    return value


# capabilities(7): revision 2 is valid for root of the namespace that mounted the filesystem,
# revision 3 for the root whose id stands at its end. linux/capability.h: struct vfs_ns_cap_data.
_REVISION, _REVISION_2, _REVISION_3 = 0xFF000000, 0x02000000, 0x03000000


def _capability(value: bytes, ranges: Ranges, side: int) -> bytes:
    if len(value) not in {20, 24}:
        return value
    (magic,) = struct.unpack_from("<I", value)
    flags, sets = magic & ~_REVISION, value[4:20]
    root = struct.unpack_from("<I", value, 20)[0] if len(value) == 24 else 0
    if side and len(value) == 20:
        # Of the host's root: in the container it is nobody's, and neither is what it would become.
        return value
    other = translated(ranges, root, side)
    if side and other == 0:
        return struct.pack("<I", flags | _REVISION_2) + sets
    return struct.pack("<I", flags | _REVISION_3) + sets + struct.pack("<I", other)


# linux/posix_acl_xattr.h: a version, then tag, permissions, id.
_ACL_USER, _ACL_GROUP = 0x02, 0x08


def _access_list(value: bytes, mapping: Mapping, side: int) -> bytes:
    if len(value) % 8 != 4:
        return value
    parts = [value[:4]]
    for tag, permissions, number in struct.iter_unpack("<HHI", value[4:]):
        other = number
        if tag == _ACL_USER:
            other = translated(mapping.uid, number, side)
        elif tag == _ACL_GROUP:
            other = translated(mapping.gid, number, side)
        parts.append(struct.pack("<HHI", tag, permissions, other))
    return b"".join(parts)
