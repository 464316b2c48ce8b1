"""Rights: who calls, namespaces, user namespaces and what restricts them, id maps, capabilities."""

from __future__ import annotations

import sys

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.host import in_user_namespace
from aisbx_runtime.oci.kernel import namespaces, network
from aisbx_runtime.oci.kernel.credentials import permitted_set
from aisbx_runtime.oci.kernel.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    TYPES,
)
from aisbx_runtime.oci.probe.check import (
    LIMITED,
    MISSING,
    OK,
    Check,
    new_file_system,
    nothing,
    read,
    why_not,
)
from aisbx_runtime.oci.spec.capabilities import NUMBERS

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYSCTLS = (
    ("kernel.apparmor_restrict_unprivileged_userns", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),  # noqa: E501
    ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", "0"),
    ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", "0"),
)  # fmt: skip
_REMEDIES = {
    # Never "switch the restriction off": a profile for the one program that needs it.
    "kernel.apparmor_restrict_unprivileged_userns": "printf 'abi <abi/4.0>,\\nprofile"
    " aisbx-runtime PROGRAM flags=(unconfined) {\\n  userns,\\n}\\n'"
    " >/etc/apparmor.d/aisbx-runtime && apparmor_parser -r /etc/apparmor.d/aisbx-runtime",
    "kernel.unprivileged_userns_clone": "sysctl -w kernel.unprivileged_userns_clone=1",
    "user.max_user_namespaces": "sysctl -w user.max_user_namespaces=10000",
}
# What create asks of the kernel for a container like any other.
_WANTED = ("mount", "pid", "network", "ipc", "uts", "cgroup")


def checks() -> list[Check]:
    """Return the checks of this topic."""
    return [
        _privileges(),
        _namespaces(),
        _user_namespaces(),
        _proc(),
        _loopback(),
        _time(),
        _id_maps(),
        _resource(),
    ]


def has_capability(name: str) -> bool:
    """Tell whether the caller has a capability."""
    return bool(permitted_set() >> NUMBERS[name] & 1)


def is_nested() -> bool:
    """Tell whether the caller is in a user namespace."""
    return in_user_namespace(read("/proc/self/uid_map") or "0 0 4294967295")


def userns_flag() -> int:
    """Return CLONE_NEWUSER where the caller needs it to make other namespaces."""
    return 0 if has_capability("CAP_SYS_ADMIN") else CLONE_NEWUSER


def _privileges() -> Check:
    euid = os.geteuid()
    inside = ", in a user namespace" if is_nested() else ""
    if euid == 0 and has_capability("CAP_SYS_ADMIN"):
        return Check("caller", "caller", OK, f"root{inside}")
    if euid == 0:
        return Check(
            "caller", "caller", LIMITED, f"root without CAP_SYS_ADMIN{inside}",
            "only containers with a user namespace can run",
            "run it with CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN), or as a plain user",
        )  # fmt: skip
    return Check(
        "caller", "caller", LIMITED, f"uid {euid}{inside}",
        "containers need a user namespace, as podman and `spec --rootless` make one",
        "call it as root for containers without one: sudo aisbx-runtime ...",
    )  # fmt: skip


def _namespaces() -> Check:
    tried = {kind: why_not(nothing, userns_flag() | TYPES[kind][0]) for kind in _WANTED}
    refused = {kind: why for kind, why in tried.items() if why}
    if not refused:
        how = "in a user namespace" if userns_flag() else "directly"
        return Check("namespaces", "namespaces", OK, f"{', '.join(_WANTED)}: {how}", needed=True)
    reasons = ", ".join(sorted(set(refused.values())))
    return Check(
        "namespaces", "namespaces", MISSING, f"{', '.join(refused)}: {reasons}",
        "containers cannot be isolated",
        "" if _why_userns() else "run it as root, or raise the limits below /proc/sys/user, or"
        " loosen the seccomp profile of what it runs in",
        _why_userns(), needed=True,
    )  # fmt: skip


def _restrictions() -> list[str]:
    return [name for name, path, bad in _SYSCTLS if read(path) == bad]


def _why_userns() -> str:
    found = _restrictions()
    if not found:
        return ""
    return _REMEDIES[found[0]].replace("PROGRAM", os.path.abspath(sys.argv[0]))


def _user_namespaces() -> Check:
    def use() -> None:
        # Ubuntu's restriction lets a user namespace be made, and then refuses to use it.
        os.close(new_file_system("tmpfs"))
        network.bring_up("lo")

    why = why_not(use, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
    found = _restrictions()
    if why:
        return Check(
            "user-namespaces", "user namespaces", MISSING,
            why + (f" ({', '.join(found)})" if found else ""),
            "rootless containers, and containers with users of their own, cannot run",
            "" if _why_userns() else "allow them in the sandbox that this runs in",
            _why_userns(),
        )  # fmt: skip
    if found:
        return Check(
            "user-namespaces", "user namespaces", LIMITED, f"here; {', '.join(found)} is set",
            "other users than this one may be refused them", command=_why_userns(),
        )  # fmt: skip
    return Check("user-namespaces", "user namespaces", OK, "made and used")


def _proc() -> Check:
    why = why_not(_mount_proc, userns_flag() | CLONE_NEWNS | CLONE_NEWPID)
    if why:
        return Check(
            "proc", "new /proc", MISSING, why,
            "a container cannot have a /proc of its own: parts of the caller's are masked",
            "give what this runs in an unmasked /proc"
            " (podman run --security-opt unmask=ALL, docker run --privileged)",
        )  # fmt: skip
    return Check("proc", "new /proc", OK, "mounted in a new pid namespace")


def _mount_proc() -> None:
    os.close(new_file_system("proc"))


def _loopback() -> Check:
    why = why_not(lambda: network.bring_up("lo"), userns_flag() | CLONE_NEWNET)
    if why:
        return Check(
            "network", "own network", MISSING, why,
            "a container with a network of its own cannot bring up its loopback interface",
            "" if _why_userns() else "give the caller CAP_NET_ADMIN, or share the host's network",
            _why_userns(),
        )  # fmt: skip
    return Check("network", "own network", OK, "loopback comes up")


def _time() -> Check:
    why = why_not(lambda: namespaces.unshare(CLONE_NEWTIME), userns_flag())
    if why:
        return Check(
            "time-namespaces", "time namespaces", MISSING, why,
            "linux.timeOffsets is refused", "boot a kernel with CONFIG_TIME_NS",
        )  # fmt: skip
    return Check("time-namespaces", "time namespaces", OK, "clocks of their own")


def program(name: str) -> str | None:
    """Return the path of a program of the host, also where the caller has no PATH."""
    directories = (os.environment("PATH") or _DEFAULT_PATH).split(":")
    for directory in (*directories, *_DEFAULT_PATH.split(":")):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return None


def _id_maps() -> Check:
    if os.geteuid() == 0 and not is_nested() and has_capability("CAP_SETUID"):
        return Check("id-maps", "id mappings", OK, "any, written directly as root")
    lost = [name for name in ("newuidmap", "newgidmap") if program(name) is None]
    if lost:
        return Check(
            "id-maps", "id mappings", LIMITED, f"missing: {', '.join(lost)}",
            "only the own id can be mapped: most images need more users",
            command="apt-get install uidmap",
        )  # fmt: skip
    names = _names_of_caller()
    bare = [file for file in ("/etc/subuid", "/etc/subgid") if not _ranges(file, names)]
    if bare:
        user = names[-1]
        return Check(
            "id-maps", "id mappings", LIMITED, f"{', '.join(bare)}: no line for {user}",
            "only the own id can be mapped: most images need more users",
            command=f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        )  # fmt: skip
    total = sum(_ranges("/etc/subuid", names))
    return Check("id-maps", "id mappings", OK, f"{total} ids by newuidmap and newgidmap")


def _names_of_caller() -> tuple[str, ...]:
    """Return the id of the caller and, where /etc/passwd knows it, the name."""
    uid = str(os.geteuid())
    for line in (read("/etc/passwd") or "").split("\n"):
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == uid:
            return uid, fields[0]
    return (uid,)


def _ranges(file: str, names: tuple[str, ...]) -> list[int]:
    # subuid(5): name or id, first, count.
    lines = [line.split(":") for line in (read(file) or "").split("\n")]
    return [
        int(line[2]) for line in lines if len(line) == 3 and line[0] in names and line[2].isdigit()
    ]


def _resource() -> Check:
    if has_capability("CAP_SYS_RESOURCE"):
        return Check("cap-sys-resource", "CAP_SYS_RESOURCE", OK, "hard limits can be raised")
    return Check(
        "cap-sys-resource", "CAP_SYS_RESOURCE", LIMITED, "the caller has it not",
        "process.rlimits above the caller's hard limits are refused, and oom_score_adj cannot be"
        " lowered",
        "raise the limits of the caller (LimitNOFILE= and so on of its unit, or prlimit), or give"
        " it the capability",
    )  # fmt: skip
