"""Overlays of the session's own mount namespace, and what is seen in them from inside."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys

from integration import host

MS_NODEV = 4


@contextlib.contextmanager
def mounted(lower, upper, *, userxattr=False):
    """Mount an overlay as a bundle has it; yield where."""
    work, target = f"{upper}.work", f"{upper}.merged"
    os.makedirs(work, exist_ok=True)
    os.makedirs(target, exist_ok=True)
    options = ["redirect_dir=off", "metacopy=off", "index=off"]
    options = ["userxattr"] if userxattr else options
    data = ",".join([f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}", *options])
    # nodev, as bundles have it: tests make devices of any number.
    host.mount("overlay", target, "overlay", MS_NODEV, data)
    try:
        yield target
    finally:
        host.umount(target)


def view(top):
    """Return all that a program sees below a directory: path -> kind, owner, times, content."""
    seen, inodes = {}, {}
    todo = [b"."]
    while todo:
        path = todo.pop()
        place = os.path.join(os.fsencode(top), path)
        found = os.lstat(place)
        kind = stat.S_IFMT(found.st_mode)
        facts = [oct(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns]
        if kind == stat.S_IFDIR:
            names = sorted(os.listdir(place))
            facts.append(names)
            todo += [os.path.join(path, name) for name in names]
        else:
            inodes.setdefault((found.st_dev, found.st_ino), []).append(path)
        if kind == stat.S_IFREG:
            with open(place, "rb") as file:
                facts += [found.st_size, hashlib.sha256(file.read()).hexdigest()]
        elif kind == stat.S_IFLNK:
            facts.append(os.readlink(place))
        elif kind in {stat.S_IFCHR, stat.S_IFBLK}:
            facts.append(found.st_rdev)
        facts.append(
            [
                (name, os.getxattr(place, name, follow_symlinks=False))
                for name in sorted(os.listxattr(place, follow_symlinks=False))
            ]
        )
        seen[path] = facts
    seen["names of one file"] = sorted(sorted(names) for names in inodes.values())
    return seen


if __name__ == "__main__":
    # For those in other namespaces.
    print(repr(view(sys.argv[1])))
