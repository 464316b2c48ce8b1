"""Paths of the host that are worth a warning when a container is given them."""

from __future__ import annotations

from aisbx_runtime.oci.record import record


@record
class Reach:
    """What a path opens; `socket`: talking to it is what is dangerous, not writing."""

    weight: int
    why: str
    socket: bool = False


_ENGINE = "whoever talks to a container engine can start a container that has the whole host"
# The end of a path -> what is there.
_SOCKETS = {
    **dict.fromkeys(
        (
            "docker.sock", "podman.sock", "containerd.sock", "crio.sock", "containerd.sock.ttrpc",
            "buildkitd.sock", "kubelet.sock", "libpod.sock", "cri-dockerd.sock", "lxd/unix.socket",
            "dockershim.sock",
        ),
        Reach(100, _ENGINE, socket=True),
    ),
    "systemd/private": Reach(100, "it can start services on the host", socket=True),
    "system_bus_socket": Reach(75, "it can ask every service of the host", socket=True),
    "libvirt-sock": Reach(90, "it can start virtual machines with the host's disks", socket=True),
}  # fmt: skip
_SESSION = Reach(60, "it can act for the user whose session this is", socket=True)
_SECRET = "credentials are there"  # noqa: S105  (not one itself)
_CODE = "programs that run on the host are there"
# A path, and everything below it -> (weight writable, weight read-only, why)
_TREES = {
    "/boot": (95, 0, _CODE),
    "/usr": (95, 0, _CODE),
    "/bin": (95, 0, _CODE),
    "/sbin": (95, 0, _CODE),
    "/lib": (95, 0, _CODE),
    "/lib64": (95, 0, _CODE),
    "/opt": (80, 0, _CODE),
    "/etc": (95, 40, "the host's users, services and keys are configured there"),
    "/root": (95, 60, _SECRET),
    "/proc": (90, 60, "the processes and the settings of the host are there"),
    "/sys": (80, 20, "the devices of the host are controlled there"),
    "/var/spool/cron": (95, 20, "what is written there runs on the host"),
}
# Exactly this path: engines bind files of their own from below.
_WHOLE = {
    "/": (100, 75, "it has every file of the host"),
    "/dev": (95, 90, "every device of the host is there, its disks too"),
    "/home": (90, 60, _SECRET),
    "/run": (95, 90, "the sockets of the host's services are there"),
    "/var/run": (95, 90, "the sockets of the host's services are there"),
    "/var": (95, 60, "the state of the host's services is there"),
    "/var/lib": (95, 60, "the state of the host's services is there"),
    "/var/lib/docker": (95, 60, "the files of all containers are there"),
    "/var/lib/containers": (95, 60, "the files of all containers are there"),
    "/var/lib/containerd": (95, 60, "the files of all containers are there"),
    "/var/lib/kubelet": (95, 60, "the volumes and secrets of all pods are there"),
    "/var/log": (40, 20, "the logs of the host are there"),
}
# Files that engines give to containers as they are.
_HARMLESS = frozenset(
    (
        "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/localtime", "/etc/timezone",
        "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/ssl/certs", "/usr/share/zoneinfo",
        "/etc/os-release",
    )
)  # fmt: skip
_KEYRINGS = (".ssh", ".aws", ".kube", ".gnupg", ".docker", ".netrc", ".git-credentials", ".azure")


def reach_of(source: str, *, writable: bool) -> Reach | None:
    """Return what a bound path of the host opens, None when that is nothing special."""
    for tail, reach in _SOCKETS.items():
        if source.endswith(f"/{tail}"):
            return reach
    if source.startswith("/tmp/.X11-unix") or source.endswith(("/agent.sock", "/bus")):  # noqa: S108
        return _SESSION
    parts = source.split("/")
    weight, why = (90 if writable else 70, _SECRET) if set(_KEYRINGS) & set(parts) else (0, "")
    if source in _WHOLE:
        read_write, read_only, why = _WHOLE[source]
        weight = read_write if writable else read_only
    elif not (source in _HARMLESS and not writable):
        for tree, (read_write, read_only, reason) in _TREES.items():
            if source == tree or source.startswith(f"{tree}/"):
                weight, why = max((weight, why), (read_write if writable else read_only, reason))
    return Reach(weight, why) if weight else None
