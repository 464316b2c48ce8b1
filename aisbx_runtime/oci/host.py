"""What this machine is: kernel, ids, capabilities, cgroups -> Host, an argument of planning.

Reads /proc and /sys and changes nothing. What is made of these facts lives in `plan`.
"""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.record import record

# openat2, clone3 into a cgroup, mount_setattr, close_range CLOEXEC, cgroup.kill.
MINIMUM_KERNEL = (5, 14)
ALL_CAPABILITIES = (1 << 64) - 1


@record
class Hierarchy:
    """One mounted cgroup hierarchy, as the runtime sees it."""

    version: int
    controllers: tuple[str, ...]
    mount_point: str
    root: str
    own_path: str
    available: tuple[str, ...] = ()


@record
class Host:
    """The facts that a plan depends on."""

    kernel: tuple[int, int]
    machine: str
    euid: int
    egid: int
    user_namespace: bool
    may_setgroups: bool
    last_capability: int
    hierarchies: tuple[Hierarchy, ...]
    unified: bool
    # Capabilities that root has here to pass on, as a mask. A user has them in a namespace only.
    grantable: int = ALL_CAPABILITIES


def read_text(path: str) -> str:
    """Return the text of a small file in /proc or /sys. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks: list[bytes] = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode(errors="surrogateescape")


def detect() -> Host:
    """Return the facts of this machine. Raises HostError when its kernel is too old."""
    # Not for those that only read a file.
    from aisbx_runtime.oci.kernel.credentials import permitted_set

    facts = os.uname()
    kernel = kernel_version(facts.release)
    if kernel < MINIMUM_KERNEL:
        wanted = ".".join([str(part) for part in MINIMUM_KERNEL])
        raise HostError(
            f"the kernel is Linux {facts.release}",
            hint=f"run Linux {wanted} or newer (openat2, clone3, mount_setattr, cgroup.kill)",
        )
    hierarchies = cgroup_hierarchies(read_text("/proc/self/mountinfo"), own_cgroups())
    euid = os.geteuid()
    return Host(
        kernel=kernel,
        machine=facts.machine,
        euid=euid,
        egid=os.getegid(),
        may_setgroups=read_text("/proc/self/setgroups").strip() == "allow",
        user_namespace=in_user_namespace(read_text("/proc/self/uid_map")),
        last_capability=int(read_text("/proc/sys/kernel/cap_last_cap")),
        hierarchies=hierarchies,
        unified=bool(hierarchies) and all(one.version == 2 for one in hierarchies),
        grantable=permitted_set() if euid == 0 else ALL_CAPABILITIES,
    )


def kernel_version(release: str) -> tuple[int, int]:
    """Return major and minor of a release such as `6.18.44-fc`."""
    parts = release.split("-", 1)[0].split("+", 1)[0].split(".")
    return int(parts[0]), int(parts[1]) if len(parts) > 1 else 0


def in_user_namespace(uid_map: str) -> bool:
    """Tell from /proc/self/uid_map whether this is another than the initial user namespace."""
    return uid_map.split() != ["0", "0", "4294967295"]


def own_cgroups() -> dict[str, str]:
    """Return the controllers column of /proc/self/cgroup -> the path of this process there."""
    # /proc/self/cgroup, cgroups(7): "4:memory:/path"; cgroup2 is "0::/path".
    own: dict[str, str] = {}
    for line in read_text("/proc/self/cgroup").rstrip("\n").split("\n"):
        _, controllers, path = line.split(":", 2)
        own[controllers] = path
    return own


def cgroup_hierarchies(mountinfo: str, own: dict[str, str]) -> tuple[Hierarchy, ...]:
    """Return the mounted hierarchies that the runtime is a member of, each once.

    `mountinfo` is the text of /proc/self/mountinfo, `own` maps the controllers column of
    /proc/self/cgroup to its path.
    """
    # Not splitlines: paths may hold what Python takes for the end of a line.
    # proc_pid_mountinfo(5): the fields before " - " vary in number, those after do not.
    halves = [line.partition(" - ") for line in mountinfo.split("\n") if " - " in line]
    lines = [(before.split(" "), after) for before, _, after in halves]
    on_top = _children([fields for fields, _ in lines])
    found: dict[str, Hierarchy] = {}
    for fields, after in lines:
        fs_type = after.split(" ", 1)[0]
        if fs_type not in {"cgroup", "cgroup2"} or _seen_at(fields[4], on_top) != fields[0]:
            continue
        root, mount_point = unescape(fields[3]), unescape(fields[4])
        if fs_type == "cgroup2":
            found.setdefault("", _unified(root, mount_point, own))
            continue
        options = set(after.rpartition(" ")[2].split(","))
        for controllers, path in own.items():
            names = tuple(controllers.split(","))
            if controllers and options.issuperset(names):
                one = Hierarchy(1, names, mount_point, root, path)
                found.setdefault(controllers, one)
    return tuple(found.values())


def _children(mounts: list[list[str]]) -> dict[tuple[str, str], str]:
    """Return (id of the parent, mount point) -> id; "" is the parent of what has none here."""
    ids = {fields[0] for fields in mounts}
    on_top: dict[tuple[str, str], str] = {}
    for fields in mounts:
        parent = fields[1] if fields[1] in ids and fields[1] != fields[0] else ""
        on_top[parent, fields[4]] = fields[0]
    return on_top


def _seen_at(point: str, on_top: dict[tuple[str, str], str]) -> str:
    """Return the id of the mount that a path leads to, as a walk along it finds it.

    The order of the lines does not tell: since Linux 6.8 it is that of the ids, and a mount that
    was attached last may have been made first.
    """
    names = [name for name in point.split("/") if name]
    mount = ""
    for depth in range(len(names) + 1):
        path = "/" + "/".join(names[:depth])
        while (mount, path) in on_top:
            mount = on_top[mount, path]
    return mount


def _unified(root: str, mount_point: str, own: dict[str, str]) -> Hierarchy:
    try:
        available = tuple(read_text(f"{mount_point}/cgroup.controllers").split())
    except OSError:
        # Hidden by another mount, or not ours to read: then it offers nothing.
        available = ()
    return Hierarchy(2, (), mount_point, root, own.get("", "/"), available)


def unescape(field: str) -> str:
    """Return a path as a field of mountinfo has it."""
    # proc_pid_mountinfo(5) writes space, tab, newline and backslash as octal.
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
