"""A base with a bit of everything, what a container changes in it, and how both are looked at."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from integration import host
from integration.engines.conftest import overlay_works

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.bundle import Template

# Where mounts are made in containers: their times and what is in them are the engine's.
SKIPPED = ("dev", "proc", "sys", "run", "etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/mtab")
# capabilities(7), struct vfs_cap_data, revision 2: cap_net_raw, effective.
CAPABILITY = "0100000200200000000000000000000000000000"
# acl(5): user 7 may read, as struct posix_acl_xattr has it.
ACL = "0200000001000600ffffffff020004000700000004000400ffffffff10000400ffffffff20000000ffffffff"

BASE = f"""
set -e
cd /srv
mkdir -p gone/below opaque/deep/deeper merged dir-to-file links
for path in gone/below/a opaque/old opaque/deep/deeper/old merged/below merged/removed \\
	dir-to-file/a file-gone file-to-dir lower appended replaced kept links/a; do
	echo "below: $path" >"$path"
done
ln links/a links/b
ln links/a links/c
ln kept kept-link
cp /bin/busybox with-capability
tree xattr with-capability security.capability {CAPABILITY}
tree xattr kept user.base 626173650a3d00ff
chown 1000:100 kept
chmod 2775 merged
touch -d @1000000000 kept lower appended
ln -s /proc/mounts /etc/mtab
"""

CHANGES = f"""
set -e
cd /srv
rm -r gone
rm file-gone
rm -r opaque
mkdir opaque
echo new >opaque/new
rm -r dir-to-file
echo file >dir-to-file
rm file-to-dir
mkdir file-to-dir
echo in >file-to-dir/in
echo new >merged/new
rm merged/removed
echo more >>appended
echo new >replaced.new
mv replaced.new replaced
ln lower lower-link
ln lower opaque/lower-too
rm links/a
echo one >one
ln one a-name-before-one
ln one z-name-after-one
ln -s ../nowhere dangling
ln dangling dangling-too
mkfifo fifo
mkdir -p empty sticky setgid
chmod 1777 sticky
chmod 2750 setgid
chown 1000:100 setgid one
cp /bin/busybox setuid
chown 7:8 setuid
chmod 6755 setuid
chmod 0 fifo
touch "$(printf 'not-utf-8-\\377\\376')" "$(printf 'new\\nline')"
touch 'ünï' ' blank ' '\\back' ./-dash
long=$(printf '%0255d' 7)
echo long >$long
mkdir -p deep/${{long}}/${{long}}/a
echo deep >deep/${{long}}/${{long}}/a/file
ln -s $long$long$long long-target
tree xattr one user.note 00ff0a3d31
tree xattr opaque user.dir 64
cp with-capability copied
# Who may not, need not.
tree xattr copied security.capability {CAPABILITY} 2>/dev/null || true
tree xattr copied system.posix_acl_access {ACL}
truncate -s 30000000 sparse
echo end >>sparse
tree socket socket
touch -d @1234567890 one
touch -h -d @1234567891 dangling
printf '' >nothing
head -c 700000 /dev/urandom >random
echo "guest2:x:1001:1001::/:/bin/sh" >>/etc/passwd
chmod 0711 /root
rmdir /opt
"""


@contextlib.contextmanager
def ground(scratch: str) -> Iterator[str]:
    """Yield a directory where upper directories and attributes of users can be.

    In a guest of the lab the root is an overlay itself, which cannot be the upper of another one;
    a tmpfs has attributes for users since Linux 6.6. Skips where neither can.
    """
    for parent in ("/var/tmp", scratch):
        with tempfile.TemporaryDirectory(prefix=f"aisbx-{host.MARK}-", dir=parent) as path:
            os.chmod(path, 0o755)
            if overlay_works(path) and not host.lacks_user_xattrs(path):
                yield path
                return
    pytest.skip("no place for upper directories with attributes of users")


def changes_without(*beginnings: str) -> str:
    """Return CHANGES without some lines.

    `ln lower`: where overlay is mounted in a user namespace without an index, the names of what was
    copied up are seen with inode numbers of their own, though they are one file.
    """
    lines = CHANGES.splitlines()
    return "\n".join(line for line in lines if not line.startswith(beginnings))


def base_rootfs(path: str, template: Template, tree: str) -> None:
    """Make the rootfs of the base: busybox, the probe `tree`, and files to be changed."""
    os.mkdir(path)
    # Template.fill links, and this is another file system.
    with tempfile.TemporaryDirectory(dir=template.path) as near:
        template.fill(near)
        copy(near, path)
    os.chmod(path, 0o755)
    subprocess.run(["cp", tree, f"{path}/bin/tree"], check=True)
    inside(path, BASE)


def copy(source: str, target: str) -> None:
    subprocess.run(["cp", "-a", f"{source}/.", target], check=True)


def inside(rootfs: str, script: str) -> str:
    """Run a script in a chroot, with /dev/null and no other device; return what it prints."""
    done = subprocess.run(
        ["/usr/sbin/chroot", rootfs, "/bin/busybox", "sh", "-c", script],
        env={"PATH": "/bin"}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    return done.stdout.decode()


def seen(rootfs: str) -> list[str]:
    """Return each file as it is seen from inside; sockets, which no image has, left out."""
    return files_of(inside(rootfs, LIST))


LIST = f"tree ls / {' '.join(SKIPPED)}"


def files_of(listing: str) -> list[str]:
    return [line for line in listing.splitlines() if line.split()[1] != "s"]


class Overlay:
    """A container's root as `aisbx` mounts it: a rootfs, an upper directory, and both merged."""

    def __init__(self, lower: str, top: str) -> None:
        self.upper = f"{top}/upper"
        self.merged = f"{top}/merged"
        for path in (top, self.upper, f"{top}/work", self.merged):
            os.mkdir(path)
        found = os.stat(lower)
        os.chown(self.upper, found.st_uid, found.st_gid)
        os.chmod(self.upper, found.st_mode & 0o7777)
        data = f"lowerdir={lower},upperdir={self.upper},workdir={top}/work"
        data += ",redirect_dir=off,metacopy=off,index=off"
        host.mount("overlay", self.merged, "overlay", data=data)
        host.mount("tmpfs", f"{self.merged}/dev", "tmpfs")
        for name in ("null", "urandom"):
            with open(f"{self.merged}/dev/{name}", "w"):
                pass
            host.mount(f"/dev/{name}", f"{self.merged}/dev/{name}", flags=host.MS_BIND)

    def close(self) -> None:
        host.umount(f"{self.merged}/dev")
        host.umount(self.merged)


def without_user_xattrs(files: list[str]) -> list[str]:
    """Leave out what a tmpfs cannot keep before Linux 6.6."""
    return [re.sub(r" user\.\S+", "", line) for line in files]
