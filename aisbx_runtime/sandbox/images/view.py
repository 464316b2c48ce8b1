"""What layers make of each other, in memory: each member is held against what is there already.

umoci resolves a path through links inside the rootfs, takes `..` for the root, and lets a whiteout
named `.wh...` remove the directory above the rootfs. Here a path has no `..`, its parents are
directories, and a whiteout names one file.
See image-spec layer.md, and docs/security.md 2.2, entry 26.
"""

from __future__ import annotations

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.tools import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.images.members import Member

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
LONGEST_NAME_BYTES = 255
DEEPEST = 256
MOST_FILES = 1_000_000
# PATH_MAX leaves room for where the rootfs is.
LONGEST_PATH_BYTES = 3800
# The id that chown(2) takes for "leave it".
NO_ID = (1 << 32) - 1
MOST_MODE = 0o177777
LONGEST_XATTR_BYTES = 64 << 10
XATTR_NAMES = frozenset({
    b"security.capability", b"security.ima", b"security.selinux",
    b"system.posix_acl_access", b"system.posix_acl_default",
})  # fmt: skip


class Node:
    """A file of the view. layer: the last one that named it or what is in it."""

    __slots__ = ("children", "kind", "layer", "named")

    def __init__(self, kind: str, layer: int) -> None:
        self.kind = kind
        self.layer = layer
        # The layer that has a member of this path; a directory may come without one.
        self.named = 0
        self.children: dict[bytes, Node] = {} if kind == "directory" else CHILDLESS


# Of every file that is no directory; never written to.
CHILDLESS: dict[bytes, Node] = {}


class View:
    """The files of an image, one layer on the other."""

    def __init__(self) -> None:
        self.root = Node("directory", 0)
        self.layer = 0
        self.where = ""
        self.files = 0
        # Of all files that were ever there, each rounded up to a block.
        self.size_bytes = 0

    def begin(self, where: str) -> None:
        """Go on with the next layer. where: what errors call it."""
        self.layer += 1
        self.where = where

    def add(self, member: Member) -> None:
        """Put one member on what is there. Raises InputError where the rules forbid it."""
        self.size_bytes += -member.size % 4096 + member.size
        names = self._names(member.path, member)
        self._check_fields(member)
        if not names:
            if member.kind != "directory":
                raise self._wrong(member, f"the root cannot become a {member.kind}")
            return
        way, missing = self._way(names, member)
        name = names[-1]
        if name.startswith(WHITEOUT):
            self._check_whiteout(name, member)
            if not missing:
                self._white_out(way[-1], name, member)
            return
        parent = self._parent(way, missing)
        if member.kind == "hardlink":
            self._check_hardlink(names, member)
        found = parent.children.get(name)
        if found is not None and found.named == self.layer:
            if found.kind != "directory" or member.kind != "directory":
                raise self._wrong(member, "it is there twice in one layer, which is ambiguous")
        elif found is not None and found.layer == self.layer and member.kind != "directory":
            raise self._wrong(member, "its directory is used before it in the same layer")
        if found is None or found.kind != "directory" or member.kind != "directory":
            kind = "file" if member.kind == "hardlink" else member.kind
            found = parent.children[name] = self._new(kind)
        found.layer = found.named = self.layer

    def _new(self, kind: str) -> Node:
        # Directories that come without a member count as well.
        self.files += 1
        if self.files > MOST_FILES:
            raise InputError(f"the image has more than {MOST_FILES} files", where=self.where)
        return Node(kind, self.layer)

    def _names(self, path: bytes, member: Member) -> list[bytes]:
        """Return the names of a path; empty for the root.

        A slash in front is taken for the root of the image, as all engines do: tools that write
        it (ko, buildpacks) are common.
        """
        names = [name for name in path.split(b"/") if name not in {b"", b"."}]
        if b".." in names:
            raise self._wrong(member, "a path goes up by `..`", path)
        if path.endswith(b"/") and member.kind != "directory":
            raise self._wrong(member, "a path ends with a slash, and it is no directory", path)
        if len(names) > DEEPEST:
            raise self._wrong(member, f"a path is deeper than {DEEPEST} directories")
        if len(path) > LONGEST_PATH_BYTES:
            raise self._wrong(member, f"a path is longer than {LONGEST_PATH_BYTES} bytes")
        for name in names:
            if len(name) > LONGEST_NAME_BYTES:
                raise self._wrong(member, f"a name is longer than {LONGEST_NAME_BYTES} bytes")
        for name in names[:-1]:
            if name.startswith(WHITEOUT):
                raise self._wrong(member, "a whiteout is no directory", path)
        return names

    def _check_fields(self, member: Member) -> None:
        if member.uid >= NO_ID or member.gid >= NO_ID:
            raise self._wrong(member, "an id is too large", str(member.uid).encode())
        if member.mode > MOST_MODE:
            raise self._wrong(member, "a mode has more bits than there are", b"%o" % member.mode)
        major, minor = member.device
        if major > 0xFFF or minor > 0xFFFFF:
            raise self._wrong(member, "a device number is too large")
        if member.kind == "character" and member.device == (0, 0):
            # docs of the kernel, overlayfs: that is how a lower layer hides a file.
            raise self._wrong(member, "a character device 0:0 is overlay's own whiteout")
        for name, value in member.xattrs.items():
            self._check_xattr(name, value, member)

    def _check_xattr(self, name: bytes, value: bytes, member: Member) -> None:
        if name.startswith(b"user.") and not name.startswith(b"user.overlay."):
            allowed = len(name) > 5
        else:
            # trusted.overlay.* would tell overlay where a directory is looked for.
            allowed = name in XATTR_NAMES
        if not allowed or len(name) > LONGEST_NAME_BYTES or b"\0" in name:
            raise self._wrong(member, "an extended attribute may not come from an image", name)
        if len(value) > LONGEST_XATTR_BYTES:
            raise self._wrong(member, "an extended attribute is too long", name)

    def _way(self, names: list[bytes], member: Member) -> tuple[list[Node], list[bytes]]:
        """Return the directories on the way to a member, the root first, and those to be made."""
        way = [self.root]
        for number, name in enumerate(names[:-1]):
            child = way[-1].children.get(name)
            if child is None:
                return way, names[number:-1]
            if child.kind != "directory":
                raise self._wrong(
                    member, f"its parent is a {child.kind}", b"/".join(names[: number + 1])
                )
            way.append(child)
        return way, []

    def _parent(self, way: list[Node], missing: list[bytes]) -> Node:
        """Return the directory that a member lies in, made where it is missing."""
        for node in way:
            node.layer = self.layer
        parent = way[-1]
        for name in missing:
            made = parent.children[name] = self._new("directory")
            parent = made
        return parent

    def _check_whiteout(self, name: bytes, member: Member) -> None:
        if member.kind != "file" or member.size:
            raise self._wrong(member, "a whiteout is an empty file")
        hidden = name.removeprefix(WHITEOUT)
        if name != OPAQUE and (hidden in {b"", b".", b".."} or hidden.startswith(WHITEOUT)):
            raise self._wrong(member, "a whiteout names no file")

    def _white_out(self, parent: Node, name: bytes, member: Member) -> None:
        # Stands in the view until the next layer, so that it is not there twice.
        marker = parent.children.get(name)
        if marker is not None and marker.layer == self.layer:
            raise self._wrong(member, "it is there twice in one layer, which is ambiguous")
        if name == OPAQUE:
            _clear(parent, self.layer)
        else:
            hidden = name.removeprefix(WHITEOUT)
            found = parent.children.get(hidden)
            if found is not None and found.layer == self.layer:
                raise self._wrong(member, "one layer has a file and its whiteout")
            parent.children.pop(hidden, None)
        parent.children[name] = self._new("whiteout")

    def _check_hardlink(self, own: list[bytes], member: Member) -> None:
        names = self._names(member.target, member)
        node: Node | None = self.root
        for name in names:
            node = node.children.get(name) if node is not None else None
        if node is None or node.kind != "file":
            kind = "nothing" if node is None else f"a {node.kind}"
            raise self._wrong(member, f"a hardlink to {kind}: it wants a file", member.target)
        if names[: len(own)] == own:
            raise self._wrong(member, "a hardlink to what it takes the place of", member.target)

    def _wrong(self, member: Member, why: str, detail: bytes = b"") -> InputError:
        return InputError(
            f"{_shown(member.path)!r} cannot be unpacked",
            where=self.where,
            why=f"{why}: {_shown(detail)}" if detail else why,
            hint="have whoever made the image make it anew with another tool",
        )


def _clear(parent: Node, layer: int) -> None:
    """Take away what comes from lower layers, and keep what this one has named so far."""
    for name, child in list(parent.children.items()):
        if child.layer < layer:
            del parent.children[name]
        else:
            _clear(child, layer)


def _shown(path: bytes) -> str:
    text = path.decode(errors="backslashreplace")
    return printable(text if len(text) <= 200 else f"{text[:197]}...")
