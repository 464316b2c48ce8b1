"""What this machine can do, and the private corner of it in which the suite runs.

Here are probes (each returns the reason why something cannot be done, or "") and the isolation of
the test session. Nothing here knows which runtime is tested.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000  # linux/sched.h
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE, MS_SHARED = 2, 4, 0x4000, 1 << 18, 1 << 20  # linux/mount.h
MS_BIND, MS_REMOUNT, MS_NOATIME = 0x1000, 32, 1024
CAP_SYS_ADMIN = 21  # linux/capability.h
NS_GET_USERNS = 0xB701  # linux/nsfs.h
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

# Part of every container id and cgroup the suite makes: several suites may share one machine.
MARK = f"it{os.getpid()}"


# The machine's own /run, below the session's: what systemd listens at is there.
OUTER_RUN: list[int] = []


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
    # As conmon and the shim do: container init must become our child when the runtime exits.
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
    if os.geteuid() != 0:
        # Nothing of a plain user's is mounted outside of its containers.
        return
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    OUTER_RUN.append(os.open("/run", os.O_PATH | os.O_DIRECTORY))
    if os.environ.get("AISBX_TEST_CGROUP2"):
        umount("/sys/fs/cgroup")
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    for path, mode in (("/run", "0755"), ("/dev/shm", "1777")):
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
    os.mkdir("/run/lock")  # podman's and iptables' locks


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


@functools.cache
def lacks_cgroups() -> str:
    """Return why no cgroup can be made at the top of the hierarchies, or ""."""
    for top in sorted(set(hierarchies().values())):
        path = f"{top}/{MARK}-probe"
        try:
            os.mkdir(path)
        except OSError as error:
            return f"no cgroup can be made: {os.strerror(error.errno)}: {top}"
        os.rmdir(path)
    return "" if hierarchies() else "no cgroups here"


def lacks_controller(name: str) -> str:
    """Return why a limit of this controller cannot be enforced here, or ""."""
    mounts = hierarchies()
    if name in mounts:
        return lacks_cgroups()
    if "" in mounts and name in text_of(f"{mounts['']}/cgroup.controllers").split():
        return lacks_cgroups()
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


def lacks_user_xattrs(directory: str) -> str:
    """Return why files of this directory can have no extended attributes of users, or ""."""
    path = f"{directory}/{MARK}-xattr"
    with open(path, "w"):
        try:
            os.setxattr(path, "user.probe", b"1")
        except OSError as error:
            return f"no user.* attributes: {os.strerror(error.errno)}: {directory}"
        finally:
            os.unlink(path)
    return ""


def lacks_program(*names: str) -> str:
    missing = [name for name in names if shutil.which(name) is None]
    return f"not installed: {' '.join(missing)}" if missing else ""


def in_user_namespace() -> bool:
    return text_of("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


@functools.cache
def lacks_capability(number: int, name: str) -> str:
    """Return why this session has not the capability over the machine, or ""."""
    if in_user_namespace():
        return f"{name} is wanted over the machine, and this session has it in a user namespace"
    with open("/proc/self/status") as lines:
        effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return "" if int(effective, 16) >> number & 1 else f"this session has no {name}"


@functools.cache
def lacks_namespace(flag: str) -> str:
    """Return why `unshare FLAG` (util-linux) fails here, or ""."""
    done = subprocess.run(
        # A plain user's containers make it together with a user namespace.
        ["unshare", *(["--user"] if os.geteuid() else []), flag, "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.stderr.decode().strip() if done.returncode else ""


@functools.cache
def lacks_rights() -> str:
    """Return why this session may not mount, nor join namespaces that it has made, or ""."""
    with open("/proc/self/status") as lines:
        effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    held = int(effective, 16) >> CAP_SYS_ADMIN & 1
    return "" if held else "a plain user mounts and joins nothing outside of its user namespaces"


@functools.cache
def lacks_devices() -> str:
    """Return why mknod(2) makes no device here, or ""."""
    path = f"/dev/shm/{MARK}-probe"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError as error:
        return f"no device can be made: {os.strerror(error.errno)}"
    os.unlink(path)
    return ""


def lacks_flags_of(path: str) -> str:
    """Return why the flags of a mount of this directory cannot be changed, or "".

    mount_namespaces(7): those that came from a more privileged mount namespace are locked.
    """
    target = f"/dev/shm/{MARK}-probe"
    os.mkdir(target)
    try:
        mount(path, target, flags=MS_BIND)
        try:
            mount("", target, flags=MS_BIND | MS_REMOUNT | MS_NOATIME)
        finally:
            umount(target)
    except OSError as error:
        return f"the flags of the mount of {path} are locked: {os.strerror(error.errno)}"
    finally:
        os.rmdir(target)
    return ""


def is_foreign(kind: str) -> bool:
    """Tell whether the session's namespace of this kind (as in /proc) is of an outer user one.

    proc, sysfs and mqueue show such a namespace, and may not be mounted from within. The
    containers of a plain user have user namespaces of their own.
    """
    if os.geteuid() != 0:
        return True
    with open(f"/proc/self/ns/{kind}") as file:
        try:
            owner_fd = fcntl.ioctl(file, NS_GET_USERNS)
        except PermissionError:
            return True  # ioctl_ns(2): it is out of sight
    try:
        return os.fstat(owner_fd).st_ino != os.stat("/proc/self/ns/user").st_ino
    finally:
        os.close(owner_fd)


def outside_id(number: int) -> int:
    """Return what an id of this session is in the initial user namespace, -1 if it has it not."""
    for line in text_of("/proc/self/uid_map").splitlines():
        inside, outside, size = (int(word) for word in line.split())
        if inside <= number < inside + size:
            return outside + number - inside
    return -1


def lacks_ids(last: int = 1001) -> str:
    """Return why not every id up to this one can be used or mapped here, or ""."""
    if os.geteuid() != 0:
        return "a plain user has the own id only"
    return f"id {last} is not mapped here" if outside_id(last) < 0 else ""


def lacks_systemd() -> str:
    """Return why no systemd manages the cgroups of this session, or ""."""
    if not unified() or not OUTER_RUN:
        return "no unified cgroup v2 on this host"
    booted = os.path.isdir(f"/proc/self/fd/{OUTER_RUN[0]}/systemd/system")
    return "" if booted else "systemd does not run on this host"


def lacks_guest() -> str:
    """Return why this machine's own services may not be stopped by a test, or ""."""
    of_lab = f"/proc/self/fd/{OUTER_RUN[0]}/lab" if OUTER_RUN else "/missing"
    ours = os.path.exists(f"{of_lab}/settings") and not os.path.exists(f"{of_lab}/own-kernel")
    return "" if ours else "this is no guest of the lab, whose services may be stopped"


@contextlib.contextmanager
def systemd_in_reach() -> Iterator[None]:
    """Show the sockets of systemd, of its bus, and of users' in the session's /run."""
    shown = []
    for name in ("systemd", "dbus", "user"):
        source = f"/proc/self/fd/{OUTER_RUN[0]}/{name}"
        if os.path.isdir(source):
            os.makedirs(f"/run/{name}", exist_ok=True)
            mount(source, f"/run/{name}", flags=MS_BIND | MS_REC)
            shown.append(f"/run/{name}")
    yield
    for path in reversed(shown):
        umount(path)


def last_capability() -> int:
    return int(text_of("/proc/sys/kernel/cap_last_cap"))
