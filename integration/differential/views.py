"""How this host is shown to the runtimes, and which of them can be compared there.

crun refuses hybrid cgroups. On such a host it sees a unified hierarchy, without the controllers
that v1 holds; runc and we are compared there too, and on the host as it is. On a unified host
there is one view, with all controllers. Each view is a mount namespace where all is shared, as
systemd has it: what is not made private shows.
"""

from __future__ import annotations

import os
import subprocess

from integration import host

SHARE = "mount --make-rshared / && "
UNIFY = "umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && "
HOLD = "echo ready && read _"
CAP_SYS_RESOURCE = 24  # linux/capability.h


class View:
    """One way in which this host is shown, by the script that makes it so in a mount namespace."""

    def __init__(self, name: str, script: str, peers: tuple[str, ...]) -> None:
        self.name = name
        self.peers = peers
        self._fd = _entered(script)
        # Argv that enters it.
        self.prefix = ["nsenter", f"--mount=/proc/{os.getpid()}/fd/{self._fd}", "--"]

    def close(self) -> None:
        os.close(self._fd)

    def has(self, controller: str) -> bool:
        """Tell whether a limit of this controller holds here."""
        if self.name == "hybrid":
            return not host.lacks_controller(controller)
        # Device rules are programs on v2.
        top = host.hierarchies()[""]
        return controller in {*host.text_of(f"{top}/cgroup.controllers").split(), "devices"}


def _entered(script: str) -> int:
    """Return a new mount namespace, as an fd that keeps it."""
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"{script}{HOLD}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY)


def views() -> list[View]:
    """Return the views of this host, the one with all peers last."""
    script = SHARE if host.unified() else UNIFY + SHARE
    unified = View("unified", script, ("runc", "crun"))
    return [unified] if host.unified() else [View("hybrid", SHARE, ("runc",)), unified]


def prefix_of(peer: str, library: str) -> list[str]:
    """Return argv that lets a peer run in this session; `library` is memlock.c's."""
    if peer == "crun" and host.lacks_capability(CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"):
        return ["env", f"LD_PRELOAD={library}"]
    return []
