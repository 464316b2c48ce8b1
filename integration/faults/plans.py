"""Bundles whose plans differ: between them they have every kind of step."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.bundle import Bundle
    from integration.runtime import Container

HOOK_SHELL = "/bin/sh"
FILTER = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}


def _without_mounts(bundle: Bundle, *types: str) -> None:
    mounts = bundle.config["mounts"]
    bundle.config["mounts"] = [one for one in mounts if one["type"] not in types]


def minimal(bundle: Bundle) -> None:
    bundle.config["mounts"] = []
    linux = bundle.config["linux"]
    bundle.config["linux"] = {
        "namespaces": [{"type": "mount"}, {"type": "pid"}],
        "cgroupsPath": linux["cgroupsPath"],
    }
    del bundle.config["hostname"]
    del bundle.config["process"]["rlimits"]


def podman_like(bundle: Bundle) -> None:
    """User namespace, bind mounts, tmpfs with copy-up, sysctl, devices, as podman writes them."""
    bundle.user_namespace()
    _without_mounts(bundle, "cgroup", "sysfs")
    bundle.namespace("cgroup")
    source = f"{bundle.path}/volume"
    os.makedirs(source, exist_ok=True)
    with open(f"{bundle.path}/resolv.conf", "w"):
        pass
    bundle.mount("/srv", "bind", source, "rbind", "rprivate", "nosuid")
    bundle.mount("/etc/resolv.conf", "bind", f"{bundle.path}/resolv.conf", "bind", "ro", "rprivate")
    bundle.mount("/opt", "tmpfs", "tmpfs", "rw", "tmpcopyup")
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ping_group_range": "0 0"}
    bundle.config["root"]["readonly"] = True
    bundle.config["process"]["oomScoreAdj"] = 100
    bundle.config["process"]["noNewPrivileges"] = True
    bundle.hook("createContainer", HOOK_SHELL, "-c", "exit 0")


def limited(bundle: Bundle) -> None:
    """Every controller, below a parent cgroup that create has to make too."""
    minimal(bundle)
    bundle.config["linux"]["cgroupsPath"] = f"/{bundle.id}/inner"
    bundle.resources(
        memory={"limit": 64 << 20, "reservation": 32 << 20},
        cpu={"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
        pids={"limit": 50},
        devices=[
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        ],
    )
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}
    ]


def hooked(bundle: Bundle) -> None:
    minimal(bundle)
    for kind in (
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ):
        bundle.hook(kind, HOOK_SHELL, "-c", "exit 0")


def filtered(bundle: Bundle) -> None:
    """A seccomp filter that the stub installs, on top of what `runc spec` writes."""
    bundle.config["linux"]["seccomp"] = FILTER
    bundle.config["process"]["noNewPrivileges"] = True


def filtered_early(bundle: Bundle) -> None:
    """A seccomp filter that container init installs, and a cgroup namespace."""
    minimal(bundle)
    bundle.namespace("cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
    bundle.config["linux"]["seccomp"] = FILTER
    bundle.config["process"]["noNewPrivileges"] = False


def with_terminal(bundle: Bundle) -> None:
    minimal(bundle)
    bundle.mount("/dev", "tmpfs", "tmpfs", "nosuid", "mode=755")
    bundle.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")
    bundle.config["process"]["terminal"] = True
    bundle.config["process"]["consoleSize"] = {"height": 25, "width": 80}


def joining(bundle: Bundle, other: Container) -> None:
    """Namespaces by path; the pid namespace is joined by the runtime for its child."""
    minimal(bundle)
    for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")):
        bundle.namespace(kind, f"/proc/{other.pid}/ns/{name}")


def joining_a_user(bundle: Bundle, other: Container) -> None:
    """A user namespace by path: an intermediate process joins and makes container init."""
    bundle.user_namespace()
    joining(bundle, other)
    bundle.namespace("user", f"/proc/{other.pid}/ns/user")
    bundle.namespace("cgroup")


def joining_mounts(bundle: Bundle, path: str) -> None:
    """A mount namespace by path, with mounts: the last step makes it the container's."""
    bundle.namespace("mount", path)
    _without_mounts(bundle, "cgroup", "sysfs")
    bundle.mount("/srv", "bind", bundle.rootfs, "rbind")
    bundle.config["root"]["readonly"] = True


def mounted_in_every_way(bundle: Bundle) -> None:
    """An id mapped source, a symlink that is copied, covered and not followed; remounts."""
    minimal(bundle)
    source = f"{bundle.path}/volume"
    os.makedirs(source, exist_ok=True)
    if not os.path.islink(f"{source}/link"):
        os.symlink("nowhere", f"{source}/link")
    mapping = [{"containerID": 0, "hostID": 5000, "size": 100}]
    bundle.mount("/mnt", "tmpfs", "tmpfs")
    bundle.mount("/mnt", "bind", source, "bind", "remount", "nosuid")
    bundle.mount("/mnt", "tmpfs", "tmpfs", "remount", "size=64k")
    bundle.mount("/srv", "bind", source, "rbind", "ridmap")
    bundle.config["mounts"][-1].update(uidMappings=mapping, gidMappings=mapping)
    bundle.mount("/mnt/copied", "bind", f"{source}/link", "bind", "copy-symlink")
    bundle.mount("/mnt/covered", "bind", f"{source}/link", "bind", "src-nofollow", "dest-nofollow")


def scheduled(bundle: Bundle) -> None:
    """What container init sets for itself and its program, and the cpuset that comes before."""
    minimal(bundle)
    bundle.resources(cpu={"cpus": "0", "mems": "0"})
    bundle.config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 1}
    bundle.config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 4}
    bundle.config["linux"]["personality"] = {"domain": "LINUX32"}
    bundle.config["linux"]["memoryPolicy"] = {"mode": "MPOL_PREFERRED", "nodes": "0"}


PLAIN: dict[str, Callable[[Bundle], None]] = {
    "minimal": minimal,
    "podman": podman_like,
    "limits": limited,
    "hooks": hooked,
    "mounts": mounted_in_every_way,
    "scheduling": scheduled,
    "seccomp": filtered,
    "seccomp early": filtered_early,
}
JOINS: dict[str, Callable[[Bundle, Any], None]] = {
    "joins": joining,
    "joins a user namespace": joining_a_user,
}


def can_filter(interpreter: str) -> bool:
    """Tell whether that interpreter finds a binding of libseccomp."""
    probe = "import importlib.util as u; print(u.find_spec('seccomp') or u.find_spec('pyseccomp'))"
    done = subprocess.run([interpreter, "-c", probe], capture_output=True, text=True, check=True)
    return done.stdout.strip() != "None"


class Console:
    """A console socket that is never asked who calls: connections are taken and dropped."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(16)
        self._listener.setblocking(False)

    def drop(self) -> None:
        """Take the connection that one call has made, with what was sent on it."""
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 8)
        for fd in fds:
            os.close(fd)

    def close(self) -> None:
        self._listener.close()
