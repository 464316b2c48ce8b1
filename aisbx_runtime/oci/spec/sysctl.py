"""Names of sysctls: the file they stand for, and the namespace that keeps them in the container.

Writing them lives in `plan`; whether the namespaces are there is checked in `validate`.
"""

from __future__ import annotations

# ipc_namespaces(7) and ipc/ipc_sysctl.c
_IPC = frozenset(
    "kernel/" + name
    for name in [
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "shmall",
        "shmmax",
        "shmmni",
        "shm_rmid_forced",
    ]
)


def path_of(name: str) -> str:
    """Return the path below /proc/sys of the sysctl `name`; empty when it would not stay there.

    sysctl.d(5): when the first separator is a slash, slashes separate and dots are part of names
    (`net/ipv4/conf/eth0.1/forwarding`), else it is the other way round.
    """
    for character in name:
        if character == "/":
            path = name
            break
        if character == ".":
            path = name.translate({ord("."): "/", ord("/"): "."})
            break
    else:
        return ""
    return "" if {"", ".", ".."} & set(path.split("/")) else path


def namespace_of(path: str) -> str:
    """Return the OCI type of the namespace that the file `path` of /proc/sys belongs to, or ""."""
    if path.startswith("net/"):
        return "network"
    if path in _IPC or path.startswith("fs/mqueue/"):
        return "ipc"
    if path == "kernel/domainname":
        return "uts"
    if path.startswith("user/"):
        return "user"
    return ""
