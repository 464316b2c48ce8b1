"""What the host sees of a container: /proc/PID, its cgroups, what was left in its rootfs.

Facts are flat: a key in the words of where it was read, and a text. What cannot be the same twice
(numbers of processes, mounts, pipes, devices without a name) is left out or made relative.
"""

from __future__ import annotations

import os
import re
import stat

from integration import host

Facts = dict[str, str]

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts")
TEXTS = (
    "oom_score_adj", "loginuid", "coredump_filter", "personality", "timerslack_ns", "uid_map",
    "gid_map", "setgroups", "timens_offsets", "attr/current", "comm",
)  # fmt: skip
STATUS = (
    "Umask", "Uid", "Gid", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt",
    "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters",
    "Speculation_Store_Bypass", "SpeculationIndirectBranch", "Cpus_allowed_list",
    "Mems_allowed_list", "CoreDumping", "THP_enabled",
)  # fmt: skip
# Files of a cgroup that tell what happened, or when, not what was asked for.
VOLATILE = re.compile(
    r"stat$|stat_|usage|numa_stat|\.current$|\.peak$|pressure|failcnt|events|procs$|tasks$|threads$"
    r"|slabinfo|kmem|event_control|io_service|io_merged|io_queued|io_wait|time$|sectors|_recursive"
    r"|memory_migrate$|effective"
)


def _text(path: str) -> str:
    try:
        with open(path, errors="replace") as text:
            return text.read()
    except OSError as error:
        return f"errno {error.errno}"


def process(pid: int, init: int | None = None) -> Facts:
    """Return the facts of a process; of one that was exec'd with init to compare with."""
    top = f"/proc/{pid}"
    facts = {f"proc.{name}": _text(f"{top}/{name}").strip("\0\n") for name in TEXTS}
    for name in ("uid_map", "gid_map"):
        facts[f"proc.{name}"] = " ".join(facts[f"proc.{name}"].split())
    for line in _text(f"{top}/status").splitlines():
        name, _, value = line.partition(":")
        if name in STATUS:
            facts[f"status.{name}"] = " ".join(value.split())
    for line in _text(f"{top}/limits").splitlines()[1:]:
        facts[f"limit.{line[:26].strip()}"] = " ".join(line[26:].split()[:2])
    facts["argv"] = _text(f"{top}/cmdline").replace("\0", "|")
    facts["environ"] = _text(f"{top}/environ").replace("\0", "|")
    for name in ("exe", "cwd", "root"):
        facts[f"proc.{name}"] = os.readlink(f"{top}/{name}").replace(" (deleted)", "")
    facts["maps"] = "|".join(sorted({_mapped(line) for line in _text(f"{top}/maps").splitlines()}))
    facts.update(_namespaces(pid, init))
    facts.update(_cgroup_paths(pid))
    if init is None:
        facts.update(mounts(_text(f"{top}/mountinfo")))
    return facts


def _mapped(line: str) -> str:
    words = line.split(None, 5)
    return f"{words[1]} {words[5]}" if len(words) > 5 else words[1]


def _namespaces(pid: int, init: int | None) -> Facts:
    facts = {}
    for name in NAMESPACES:
        own = os.readlink(f"/proc/{pid}/ns/{name}")
        relation = "host" if own == os.readlink(f"/proc/self/ns/{name}") else "new"
        if init is not None and own != os.readlink(f"/proc/{init}/ns/{name}"):
            relation += ", not init's"
        facts[f"namespace.{name}"] = relation
    return facts


def _cgroup_paths(pid: int) -> Facts:
    facts = {}
    for line in _text(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        facts[f"cgroup.path.{controllers}"] = path
    return facts


def mounts(text: str) -> Facts:
    """Return mountinfo by mount point; several mounts on one point are numbered from below."""
    facts: Facts = {}
    count: dict[str, int] = {}
    lines = [line.split(" - ", 1) for line in text.splitlines()]
    parents = {left.split()[0]: left.split()[1] for left, _ in lines}
    # The lines are in the order in which the mounts were made, not attached.
    for left, right in sorted(lines, key=lambda line: _depth(line[0].split()[0], parents)):
        fields = left.split()
        root, target = fields[3:5]
        fstype, source, data = right.split(" ", 2)
        number = count[target] = count.get(target, -1) + 1
        key = f"mount:{target}" if number == 0 else f"mount:{target}#{number}"
        facts[key] = fstype
        facts[f"{key} root"] = root
        facts[f"{key} source"] = source
        facts[f"{key} options"] = ",".join(sorted(fields[5].split(",")))
        facts[f"{key} propagation"] = " ".join(word.split(":")[0] for word in fields[6:])
        facts[f"{key} data"] = ",".join(sorted(data.split(",")))
    return facts


def _depth(mount: str, parents: dict[str, str]) -> int:
    depth = 0
    while mount in parents and parents[mount] != mount:
        mount, depth = parents[mount], depth + 1
    return depth


def cgroup_files(pid: int, mark: str) -> Facts:
    """Return what was written to the cgroups of a container whose id is `mark`."""
    facts = {}
    tops = host.hierarchies()
    for line in _text(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if mark not in path:
            continue
        name = names.split(",")[0]
        top = tops.get(name.removeprefix("name=")) or tops.get(name)
        if top is None:
            continue
        directory = _existing(top, path, mark)
        label = name or "v2"
        facts[f"cgroup.{label}"] = file_status(directory)
        for entry in sorted(os.listdir(directory)):
            file = f"{directory}/{entry}"
            if os.path.isdir(file) or VOLATILE.search(entry):
                continue
            if os.stat(file).st_mode & 0o400:
                facts[f"cgroup.{label}/{entry}"] = " ".join(_text(file).split())
            facts[f"cgroup.{label}/{entry} owner"] = file_status(file)
    return facts


def left_cgroups(mark: str) -> Facts:
    """Return the cgroups that a deleted container has left behind, by hierarchy."""
    facts = {}
    for name, top in host.hierarchies().items():
        if os.path.isdir(f"{top}/{mark}"):
            below = sorted(path.removeprefix(top) for path, _, _ in os.walk(f"{top}/{mark}"))
            facts[f"left cgroup {name or 'v2'}"] = " ".join(below).replace(mark, "ID")
    return facts


def _existing(top: str, path: str, mark: str) -> str:
    # Of a hierarchy that is not mounted by its root, /proc shows a path above the mount point.
    if os.path.isdir(f"{top}{path}"):
        return f"{top}{path}"
    return f"{top}/{path[path.index(mark) :]}"


def file_status(path: str) -> str:
    found = os.lstat(path)
    kind = stat.filemode(found.st_mode)[0]
    owner = f"{stat.S_IMODE(found.st_mode):04o} {found.st_uid}:{found.st_gid}"
    if kind == "l":
        return f"link {os.readlink(path)}"
    if kind in "cb":
        return f"{kind} {os.major(found.st_rdev)}:{os.minor(found.st_rdev)} {owner}"
    return f"{kind} {owner}"


def tree(rootfs: str) -> Facts:
    """Return what lies in a rootfs when everything is over."""
    facts = {"left:/": file_status(rootfs)}
    for parent, directories, files in os.walk(rootfs):
        for name in (*directories, *files):
            path = f"{parent}/{name}"
            facts[f"left:{path.removeprefix(rootfs)}"] = file_status(path)
    return facts
