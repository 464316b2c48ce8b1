"""stdin, stdout and stderr: pipes are given to the user of the process, who may open them again.

Only pipes: a file or a device is somebody's own (CVE-2026-88265). A terminal is made for the
container and given away where it is opened (`terminal`).
"""

from __future__ import annotations

import stat

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec.model import IdMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World


@record
class GivePipes:
    """Make the user own the pipes among fds 0 to 2, so that /dev/stdout can be opened.

    From outside, since the owner of a pipe may have no id in the container's user namespace.
    `host_uid` is the id in the runtime's user namespace.
    """

    host_uid: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"give the pipes on fds 0 to 2 to uid {self.host_uid}"

    def apply(self, at: World) -> None:
        """Change the owner where it is another and where that is permitted."""
        del at
        for fd in (0, 1, 2):
            try:
                found = os.fstat(fd)
                if stat.S_ISFIFO(found.st_mode) and found.st_uid != self.host_uid:
                    os.fchown(fd, self.host_uid, -1)
            except OSError:
                # Closed, or not ours to give: then the program can still use the fd it has.
                continue


def mappings_of(uid_map: str) -> tuple[IdMapping, ...]:
    """Return what the text of a /proc/PID/uid_map says to the process that reads it."""
    found: list[IdMapping] = []
    for line in uid_map.splitlines():
        inside, outside, size = line.split()
        found.append(IdMapping(int(inside), int(outside), int(size)))
    return tuple(found)


def host_id_of(container_id: int, mappings: tuple[IdMapping, ...]) -> int | None:
    """Return what an id of the container is outside, None where it is not mapped."""
    for one in mappings:
        if 0 <= container_id - one.container_id < one.size:
            return one.host_id + container_id - one.container_id
    return None


def steps(uid: int, mappings: tuple[IdMapping, ...] | None) -> list[Step]:
    """Return the step for the user `uid`; `mappings` None: its ids are the runtime's own."""
    host_uid = uid if mappings is None else host_id_of(uid, mappings)
    return [] if host_uid is None else [GivePipes(host_uid, "process.user.uid")]
