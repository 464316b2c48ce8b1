"""Guest `own`: the Debian with systemd in namespaces, on this host's own kernel.

Nothing else here has both systemd and a kernel that criu works on: on User-Mode Linux it does not.
On a hybrid host its unified cgroups have the controllers that no hierarchy of v1 has: hugetlb only.
Its root is root of this host, as that of the tests which run here: units that would change the host
are masked, and `host.lacks_guest` says that this is none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from integration.runtime import PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 10
# It is born in its cgroup, for the namespace, and leaves it: systemd wants it without processes.
OUTSIDE = """
echo $$ >"$1/cgroup.procs" && exec unshare --cgroup sh -c '
    echo $$ >"$1/cgroup.procs" && shift && exec "$@"
' sh "$2" unshare --net --mount --pid --uts --ipc --fork --kill-child=SIGKILL sh "$3"
"""


def unified() -> tuple[str, str]:
    """Return where cgroup v2 is mounted, and this process' own cgroup below; "" if it is not."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        tops = [line.split()[4] for line in lines if " - cgroup2 " in line]
    with open("/proc/self/cgroup", encoding="utf-8") as lines:
        paths = [line.rstrip("\n")[3:] for line in lines if line.startswith("0::")]
    return (tops[0], f"{tops[0]}{paths[0]}") if tops and paths else ("", "")


def lacks() -> str:
    """Return why this guest cannot be started on this host, or ""."""
    if not unified()[0]:
        return "cgroup v2 is mounted nowhere on this host"
    missing = [name for name in ("busybox", "unshare") if shutil.which(name, path=PATH) is None]
    return f"not installed: {' '.join(missing)} (hint: make setup-lab)" if missing else ""


@contextlib.contextmanager
def cgroup(run: str) -> Iterator[str]:
    """Yield a cgroup of v2 that goes with all that is below it."""
    top, mark = unified()[0], f"lab-{os.path.basename(run)}"
    for name in os.listdir(top):
        # Of one that was killed: its directory has been removed since.
        if name.startswith("lab-run-") and not os.path.exists(
            f"{os.path.dirname(run)}/{name.removeprefix('lab-')}"
        ):
            remove(f"{top}/{name}")
    os.mkdir(f"{top}/{mark}")
    try:
        yield f"{top}/{mark}"
    finally:
        deadline = time.monotonic() + PATIENCE_S
        while not remove(f"{top}/{mark}"):  # its processes are about to end
            if time.monotonic() > deadline:
                raise SystemExit(f"lab: {top}/{mark} is in use still")


def remove(path: str) -> bool:
    """Remove a cgroup and those below; tell whether it is gone."""
    for parent, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):  # in use
            os.rmdir(parent)
    return not os.path.isdir(path)


def start_words(run: str, group: str, output_fd: int) -> list[str]:
    """Return the words that start the guest; run: the directory it shares with this host."""
    environment = ["env", f"LAB_RUN={run}", f"LAB_OUTPUT={output_fd}"]
    return [*environment, "sh", "-c", OUTSIDE, "sh", group, unified()[1], f"{run}/own"]
