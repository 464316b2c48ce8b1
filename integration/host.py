"""What this machine can do, and the private corner of it in which the suite runs.

Here are probes (each returns the reason why something cannot be done, or "") and the isolation of
the test session. Nothing here knows which runtime is tested.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000  # linux/sched.h
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE, MS_SHARED = 2, 4, 0x4000, 1 << 18, 1 << 20  # linux/mount.h
MS_BIND = 0x1000
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

# Part of every container id and cgroup the suite makes: several suites may share one machine.
MARK = f"it{os.getpid()}"


def check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    check(
        libc.mount(source.encode(), target.encode(), fstype.encode(), flags, data.encode()),
        f"mount {target}",
    )


def umount(target: str) -> None:
    check(libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def isolate() -> None:
    """Give this process its own mounts, /run and /dev/shm, and make it adopt its orphans.

    The machine's own mounts, state directories and podman locks are thus out of reach of every
    test, and whatever a runtime leaves mounted is seen at once and dies with the session.
    With AISBX_TEST_CGROUP2 set, a hybrid host is shown as a unified one: freezer, cgroup.kill and
    device filters work there, the controllers that v1 holds are missing.
    """
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    if os.environ.get("AISBX_TEST_CGROUP2"):
        umount("/sys/fs/cgroup")
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    for path, mode in (("/run", "0755"), ("/dev/shm", "1777")):
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
    os.mkdir("/run/lock")  # podman's and iptables' locks
    # As conmon and the shim do: container init must become our child when the runtime exits.
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def text_of(path: str) -> str:
    with open(path) as text:
        return text.read()


@functools.cache
def hierarchies() -> dict[str, str]:
    """Return where each cgroup controller is mounted; "" is the unified (v2) hierarchy."""
    found: dict[str, str] = {}
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            left, right = line.split(" - ", 1)
            fstype, _, options = right.split()
            if fstype == "cgroup2":
                found[""] = left.split()[4]
            elif fstype == "cgroup":
                for word in options.split(","):
                    found.setdefault(word, left.split()[4])
    return found


def unified() -> bool:
    return hierarchies().get("") == "/sys/fs/cgroup"


def lacks_controller(name: str) -> str:
    """Return why a limit of this controller cannot be enforced here, or ""."""
    mounts = hierarchies()
    if name in mounts:
        return ""
    if "" in mounts and name in text_of(f"{mounts['']}/cgroup.controllers").split():
        return ""
    return f"no cgroup controller {name} on this host"


def cgroup_file(controller: str, cgroup: str, v1_name: str, v2_name: str) -> str:
    """Return the text of a file of a container's cgroup, read on the host."""
    mounts = hierarchies()
    mount_point, name = (
        (mounts[controller], v1_name) if controller in mounts else (mounts[""], v2_name)
    )
    return text_of(f"{mount_point}{cgroup}/{name}").strip()


def remove_cgroups(name: str) -> None:
    """Remove a cgroup that an engine leaves, with what is below, where it is empty."""
    for top in set(hierarchies().values()):
        for path, _, _ in os.walk(f"{top}/{name}", topdown=False):
            with contextlib.suppress(OSError):  # somebody else's processes are in it
                os.rmdir(path)


def lacks_program(*names: str) -> str:
    missing = [name for name in names if shutil.which(name) is None]
    return f"not installed: {' '.join(missing)}" if missing else ""


@functools.cache
def lacks_capability(number: int, name: str) -> str:
    with open("/proc/self/status") as lines:
        effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return "" if int(effective, 16) >> number & 1 else f"this session has no {name}"


@functools.cache
def lacks_namespace(flag: str) -> str:
    """Return why `unshare FLAG` (util-linux) fails here, or ""."""
    done = subprocess.run(
        ["unshare", flag, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.stderr.decode().strip() if done.returncode else ""


def last_capability() -> int:
    return int(text_of("/proc/sys/kernel/cap_last_cap"))
