"""Sandboxes in a user namespace: `--userns` of root, and whatever a plain user starts.

Root's: the cached rootfs is bound with the sandbox's id mapping below an overlay that the sandbox's
own root mounts (userxattr). A plain user's rootfs is the user's own, who is root inside.
Where the kernel or the file system cannot do that, the rootfs is copied, and the caller is told
what is missing.
"""

from __future__ import annotations

import json
import os

from aisbx_runtime.sandbox.defaults import listing, section
from aisbx_runtime.sandbox.errors import HostError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from aisbx_runtime.sandbox.defaults import Json, Value
    from aisbx_runtime.sandbox.runtime import Runtime
    from aisbx_runtime.sandbox.tree import Entry

    Ranges = tuple[tuple[int, int, int], ...]

# Far above what /etc/subuid gives out (from 100000 on, useradd(8)), 65536 ids for each sandbox.
_FIRST = 1 << 30
_COUNT = 1 << 16
_MOST = 1 << 14
# In the store: what the kernel of this boot lacks, one line; the boot before.
_PROBED = "locks/userns-lacks"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# File systems that have no id mapped mounts, or serve no overlay as upper directory.
_UNFIT = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "overlay", "virtiofs", "zfs", "vboxsf")


class Users:
    """The ids of a sandbox.

    uid, gid: (inside, outside, count). lacks: what is missing here for sharing the rootfs, empty
    where nothing is. own: they are a plain user's. lock_fd: held until the bundle is in its place,
    so that nobody is given the same ids; or -1.
    """

    def __init__(self, uid: Ranges, gid: Ranges, lacks: str, lock_fd: int = -1) -> None:
        self.uid = uid
        self.gid = gid
        self.lacks = lacks
        self.own = os.geteuid() != 0
        self.lock_fd = lock_fd

    def mapping(self) -> Json:
        """Return them as the facts of a bundle have them."""
        return {"uid": [list(row) for row in self.uid], "gid": [list(row) for row in self.gid]}

    def close(self) -> None:
        """Let others choose ids."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1


def users_of(store: str, runtime: Runtime, asked: str | None) -> Users | None:
    """Return the ids of a sandbox, or None where it has no user namespace. Raises InputError."""
    if os.geteuid() != 0:
        if asked is not None:
            raise InputError(
                "--userns is root's to choose",
                hint="leave it out: a sandbox of yours has your own ids, and those of /etc/subuid",
            )
        lacks = _lacking(store, runtime, ("overlay-userxattr",))
        uid = _own_ids("/etc/subuid", os.geteuid())
        return Users(uid, _own_ids("/etc/subgid", os.getegid()), lacks)
    if asked is None:
        return None
    row = _asked_ids(asked) if asked != "auto" else None
    lacks = _lacking(store, runtime, ("user-namespaces", "overlay-userxattr", "idmapped-mounts"))
    if row is not None:
        return Users((row,), (row,), lacks)
    first, lock_fd = _free_ids(store)
    row = (0, first, _COUNT)
    return Users((row,), (row,), lacks, lock_fd)


def _asked_ids(text: str) -> tuple[int, int, int]:
    first, colon, count = text.partition(":")
    if not (colon and first.isascii() and first.isdigit() and count.isascii() and count.isdigit()):
        raise InputError(f"--userns {text!r} is not understood", hint="write auto, or UID:COUNT")
    if not 0 < int(first) < int(first) + int(count) < 1 << 32 or int(count) == 0:
        raise InputError(
            f"--userns {text!r} is no range of ids",
            hint="begin above 0, the host's root, and end below 4294967295",
        )
    return 0, int(first), int(count)


def _own_ids(path: str, own: int) -> Ranges:
    """Return root inside as the caller outside, and after it what /etc/subuid grants."""
    import pwd

    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    rows = [(0, own, 1)]
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip().split(":") for line in file]
    except FileNotFoundError:
        lines = []
    for fields in lines:
        if fields[0] in {name, str(os.geteuid())} and "".join(fields[1:]).isdigit():
            rows.append((rows[-1][0] + rows[-1][2], int(fields[1]), int(fields[2])))
    return tuple(rows)


def _free_ids(store: str) -> tuple[int, int]:
    """Return the first of ids that no sandbox of the store has, and the lock on choosing."""
    import fcntl

    lock_fd = os.open(f"{store}/locks/userns", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock_fd, fcntl.LOCK_EX)
    taken: set[int] = set()
    for name in os.listdir(f"{store}/containers"):
        try:
            with open(f"{store}/containers/{name}/aisbx.json", encoding="utf-8") as file:
                mapping = json.load(file)["mapping"]
        except (OSError, ValueError, KeyError):
            # Half gone: nobody lives there.
            continue
        if mapping:
            taken.add((mapping["uid"][0][1] - _FIRST) // _COUNT)
    for number in range(_MOST):
        if number not in taken:
            return _FIRST + number * _COUNT, lock_fd
    os.close(lock_fd)
    raise InputError("no ids are left for another user namespace", hint="destroy some sandboxes")


# ---- what is missing -----------------------------------------------------------------------------
def _lacking(store: str, runtime: Runtime, names: tuple[str, ...]) -> str:
    fstype = _file_system(store)
    if fstype.partition(".")[0] in _UNFIT:
        return f"the file system of the store is {fstype}, on which overlay cannot write"
    with open(_BOOT_ID, encoding="ascii") as file:
        boot = file.read().strip()
    path = f"{store}/{_PROBED}"
    try:
        with open(path, encoding="utf-8") as file:
            told, _, found = file.read().partition("\n")
    except FileNotFoundError:
        told, found = "", ""
    if told != boot:
        # The runtime tries it in children; it takes a second, once a boot. Another runtime than
        # ours tells nothing: its own error will, when it starts the sandbox.
        try:
            checks = json.loads(runtime.call("doctor", "--json"))["checks"]
        except HostError:
            return ""
        wrong = [one for one in checks if one["name"] in names and one["state"] != "ok"]
        found = "; ".join(f"{one['title']}: {one['found']}" for one in wrong)
        new = f"{path}.new-{os.getpid()}"
        with open(new, "w", encoding="utf-8") as file:
            file.write(f"{boot}\n{found}")
        os.rename(new, path)
    return found


def _file_system(path: str) -> str:
    """Return the type of the file system at path: mountinfo, proc(5)."""
    best, fstype = "", ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            point = left.split()[4].replace("\\040", " ")
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, fstype = point, right.split()[0]
    return fstype


# ---- config.json ---------------------------------------------------------------------------------
def apply(config: Json, users: Users) -> None:
    """Give a configuration its user namespace."""
    linux = section(config, "linux")
    linux["namespaces"] = [*listing(linux, "namespaces"), {"type": "user"}]
    linux["uidMappings"] = _rows(users.uid)
    linux["gidMappings"] = _rows(users.gid)
    if users.own:
        # A plain user has no devices controller, and needs none: no device can be made.
        section(linux, "resources").pop("devices")
    groups = sum(count for _, _, count in users.gid)
    for mount in listing(config, "mounts"):
        if isinstance(mount, dict) and mount["type"] == "devpts" and groups <= 5:
            # The group of terminals has no id here.
            mount["options"] = [one for one in listing(mount, "options") if one != "gid=5"]


def id_mapped(rootfs: str, users: Users) -> Json:
    """Return the mount that shows the cached rootfs with the sandbox's ids."""
    return {
        "destination": "/",
        "type": "none",
        "source": rootfs,
        "options": ["bind", "ro", "idmap"],
        "uidMappings": _rows(users.uid),
        "gidMappings": _rows(users.gid),
    }


def _rows(ranges: Ranges) -> list[Value]:
    return [
        {"containerID": inside, "hostID": outside, "size": count}
        for inside, outside, count in ranges
    ]


# ---- files ---------------------------------------------------------------------------------------
def give(path: str, users: Users) -> None:
    """Give a file or directory, owned by ids of the image, to those ids of the sandbox."""
    from aisbx_runtime.sandbox.tree import Mapping

    if users.own:
        return
    found = os.stat(path, follow_symlinks=False)
    uid, gid = Mapping(users.uid, users.gid).outside(found.st_uid, found.st_gid)
    os.chown(path, uid, gid, follow_symlinks=False)


def let_through(store: str) -> None:
    """Let the sandbox's root reach its own upper directory: it is no root on this machine.

    What is beside it stays closed: every other directory has mode 0700.
    """
    with os.scandir(store) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o711 if entry.name == "containers" else 0o700)
    os.chmod(store, 0o711)  # noqa: S103  (others may pass, and see nothing)
    parent = store
    while parent := parent.rpartition("/")[0]:
        if not os.stat(parent).st_mode & 0o001:
            raise InputError(
                "the users of a user namespace cannot reach the store",
                where=parent,
                why="others may not pass this directory",
                hint="name a store elsewhere, or chmod o+x",
            )


def copy(rootfs: str, target: str, users: Users) -> None:
    """Copy the cached rootfs to an empty directory, with the ids of the sandbox."""
    from aisbx_runtime.sandbox.tree import Mapping, make, walk

    def opened(entry: Entry) -> BinaryIO:
        # Its directories are no links: `walk` has been there, and nobody writes to the cache.
        path = f"{rootfs}/{entry.path}"
        return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")

    mapping = Mapping(users.uid, users.gid)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    source_fd = os.open(rootfs, flags)
    target_fd = os.open(target, flags)
    try:
        make(target_fd, walk(source_fd, mapping if users.own else None), opened, mapping)
    finally:
        os.close(source_fd)
        os.close(target_fd)
