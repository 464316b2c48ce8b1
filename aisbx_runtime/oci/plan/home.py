"""HOME, where config.json gives none: engines leave it to the runtime, as runc and crun have it.

Read once, from the container's /etc/passwd, which is hostile: nothing else is ever looked up there.
"""

from __future__ import annotations

import stat

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel.path import PROC_SUPER_MAGIC, fs_type_of, open_in_root
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Process

_USERS = "/etc/passwd"
_LIMIT_BYTES = 1 << 20


@record
class FindHome:
    """Give the process the home directory that its user has in the container's /etc/passwd."""

    uid: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"set HOME to what {_USERS} says of uid {self.uid}, else to /"

    def apply(self, at: World) -> None:
        """Look it up, with the rights of the runtime: the user need not be able to read it."""
        at.home = home_of(_text(at.root_fd), self.uid)


def _text(root_fd: int) -> bytes:
    # Not blocked by a fifo (CVE-2024-9676), and no file of procfs is taken for a list of users.
    try:
        fd = open_in_root(root_fd, _USERS, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or fs_type_of(fd) == PROC_SUPER_MAGIC:
            return b""
        return os.read(fd, _LIMIT_BYTES)
    except OSError:
        # Somebody's network file system: HOME is no reason to fail.
        return b""
    finally:
        os.close(fd)


def home_of(passwd: bytes, uid: int) -> str:
    """Return the sixth field of the first line of this user, or `/`. See passwd(5)."""
    wanted = b"%d" % uid
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == wanted and fields[5] and b"\0" not in fields[5]:
            return os.fsdecode(fields[5])
    return "/"


def steps(process: Process) -> list[Step]:
    """Return the step for a process without HOME; `process.env` has been looked at."""
    return [FindHome(process.user.uid, "process.env")]
