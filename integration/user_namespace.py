"""Run a command as root of a user namespace: `python -m integration.user_namespace IDS COMMAND...`.

IDS is FIRST:SIZE, the uids and gids of the caller's namespace that are 0 and on in the new one, as
`podman unshare` or `unshare --map-auto` have it; only root may call it so, for nothing in
/etc/subuid is asked for. `own` is `unshare -r`: the caller's own ids alone, and setgroups(2)
denied for good.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

from integration.host import check, libc

CLONE_NEWUSER = 0x10000000  # linux/sched.h


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def map_ids(pid: int, ids: str) -> None:
    """Write the maps from outside, where the ids mean something: user_namespaces(7)."""
    uid, gid, size = os.geteuid(), os.getegid(), "1"
    if ids == "own":
        write(f"/proc/{pid}/setgroups", "deny")
    else:
        first, _, size = ids.partition(":")
        uid = gid = int(first)
    write(f"/proc/{pid}/uid_map", f"0 {uid} {size}")
    write(f"/proc/{pid}/gid_map", f"0 {gid} {size}")


def become_root_inside(ids: str, unshared_fd: int, mapped_fd: int) -> None:
    check(libc.unshare(CLONE_NEWUSER), "unshare")
    os.write(unshared_fd, b"!")
    if not os.read(mapped_fd, 1):
        sys.exit("the ids could not be mapped")
    if ids != "own":
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def main(ids: str, command: list[str]) -> int:
    # /tmp/pytest-of-root is the other root's.
    temporary = tempfile.mkdtemp(prefix="aisbx-userns-")
    unshared_read, unshared_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(mapped_write)
        become_root_inside(ids, unshared_write, mapped_read)
        os.execvpe(command[0], command, {**os.environ, "PYTEST_DEBUG_TEMPROOT": temporary})
    os.close(unshared_write)
    if os.read(unshared_read, 1):
        map_ids(child, ids)
        if ids != "own":
            os.chown(temporary, int(ids.partition(":")[0]), -1)
        os.write(mapped_write, b"!")
    os.close(mapped_write)
    _, status = os.waitpid(child, 0)
    for directory, names, _ in os.walk(temporary):
        for name in names:
            # The work directory of an overlay has mode 0, and we need not be root.
            if not os.path.islink(path := os.path.join(directory, name)):
                os.chmod(path, 0o700)
    shutil.rmtree(temporary)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
