"""Bundles made up by hypothesis: valid, and of what all three runtimes claim to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from integration.differential import cases

if TYPE_CHECKING:
    from integration.differential.trial import Subject

NAMES = [*cases.ALL, "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE", "CAP_SETFCAP"]
PLACES = ["/m", "/n/deep/er", "/tmp", "/opt", "/etc/file", "/run", "/srv/../srv/x"]
FLAGS = ["ro", "nosuid", "nodev", "noexec", "strictatime"]
PROPAGATION = ["rprivate", "private", "rslave", "rshared"]
PATHS = ["/proc/keys", "/proc/bus", "/sys/firmware", "/etc/passwd", "/opt", "/nowhere", "/tmp"]
SYSCTLS = {
    "network": {"net.ipv4.ip_forward": "1", "net.ipv4.ip_unprivileged_port_start": "80"},
    "ipc": {"kernel.msgmax": "4096", "kernel.shm_rmid_forced": "1"},
}
RLIMITS = ["CORE", "NOFILE", "STACK", "NPROC", "FSIZE", "MEMLOCK"]
LIMITS = {"MEMLOCK": 4096, "NOFILE": 200, "NPROC": 600}


def _subset(names: list[str], most: int = 4) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), max_size=most, unique=True)


def _rlimit(name: str, soft: int, hard: int) -> dict[str, Any]:
    most = LIMITS.get(name, 1 << 24)
    hard = most * hard // 4
    return {"type": f"RLIMIT_{name}", "soft": hard * soft // 4, "hard": hard}


RLIMIT_LISTS = st.lists(
    st.builds(_rlimit, st.sampled_from(RLIMITS), st.integers(2, 4), st.integers(3, 4)),
    max_size=3,
    unique_by=lambda one: one["type"],
)
MOUNTS = st.fixed_dictionaries(
    {
        "destination": st.sampled_from(PLACES),
        "kind": st.sampled_from(["tmpfs", "directory", "file"]),
        "options": _subset(FLAGS, 3),
        "propagation": st.sampled_from([*PROPAGATION, ""]),
        "recursive": st.booleans(),
    }
)
CHOICES = st.fixed_dictionaries(
    {
        "namespaces": st.sets(st.sampled_from(["network", "ipc", "uts", "cgroup", "user"])),
        "user": st.tuples(st.sampled_from([0, 5, 1000]), st.sampled_from([0, 7])),
        "groups": st.lists(st.sampled_from([3, 5, 9]), max_size=2, unique=True),
        "umask": st.sampled_from([None, 0, 0o27, 0o77]),
        "bounding": _subset(NAMES, 12),
        "permitted": _subset(NAMES, 8),
        "inheritable": _subset(NAMES, 2),
        "no_new_privs": st.booleans(),
        "oom": st.none() | st.integers(0, 1000),
        "rlimits": RLIMIT_LISTS,
        "env": _subset(["A=1", "B=", "HOME=/mine", "PATH=/bin", "C=a=b"], 5),
        "cwd": st.sampled_from(["/", "/tmp", "/made/here", "/etc/../srv"]),
        "mounts": st.lists(MOUNTS, max_size=3, unique_by=lambda one: one["destination"]),
        "masked": _subset(PATHS, 3),
        "readonly": _subset(PATHS, 3),
        "sysctl": st.booleans(),
        "read_only_root": st.booleans(),
        "root_propagation": st.sampled_from([None, "private", "slave"]),
        "seccomp": st.booleans(),
        "terminal": st.booleans(),
        "device": st.booleans(),
    }
)


def generated_case(chosen: dict[str, Any]) -> Any:
    """Return the case of what hypothesis chose."""

    def case(subject: Subject) -> None:
        _namespaces(subject, chosen["namespaces"])
        _process(cases.process_of(subject), chosen)
        for number, one in enumerate(chosen["mounts"]):
            _mount(subject, number, one)
        linux = subject.config["linux"]
        linux["maskedPaths"] = chosen["masked"]
        linux["readonlyPaths"] = [one for one in chosen["readonly"] if one not in chosen["masked"]]
        if chosen["root_propagation"]:
            linux["rootfsPropagation"] = chosen["root_propagation"]
        if chosen["seccomp"]:
            linux["seccomp"] = cases.FILTER
        if chosen["sysctl"]:
            kinds = chosen["namespaces"] & SYSCTLS.keys()
            linux["sysctl"] = {key: SYSCTLS[kind][key] for kind in kinds for key in SYSCTLS[kind]}
        if chosen["device"]:
            linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
        subject.config["root"]["readonly"] = chosen["read_only_root"]
        if not chosen["terminal"]:
            cases.exec_process(subject)

    return case


def _namespaces(subject: Subject, chosen: set[str]) -> None:
    mounts = subject.config["mounts"]
    for kind, fstype in (("network", "sysfs"), ("ipc", "mqueue"), ("uts", None)):
        if kind not in chosen:
            subject.without_namespace(kind)
            mounts = [one for one in mounts if one["type"] != fstype]
    if "uts" not in chosen:
        del subject.config["hostname"]
    if "cgroup" in chosen:
        subject.namespace("cgroup")
    if "user" in chosen:
        subject.user_namespace()
    if "user" in chosen or "network" not in chosen:
        mounts = [one for one in mounts if one["type"] != "cgroup"]
    subject.config["mounts"] = mounts


def _process(process: dict[str, Any], chosen: dict[str, Any]) -> None:
    uid, gid = chosen["user"]
    process["user"] = {"uid": uid, "gid": gid, "additionalGids": chosen["groups"]}
    if chosen["umask"] is not None:
        process["user"]["umask"] = chosen["umask"]
    permitted = [name for name in chosen["permitted"] if name in chosen["bounding"]]
    inheritable = [name for name in chosen["inheritable"] if name in permitted]
    process["capabilities"] = {
        "bounding": chosen["bounding"],
        "permitted": permitted,
        "effective": permitted,
        "inheritable": inheritable,
        "ambient": inheritable,
    }
    process.update(
        noNewPrivileges=chosen["no_new_privs"],
        rlimits=chosen["rlimits"],
        env=chosen["env"],
        cwd=chosen["cwd"],
        terminal=chosen["terminal"],
    )
    if chosen["oom"] is not None:
        process["oomScoreAdj"] = chosen["oom"]


def _mount(subject: Subject, number: int, one: dict[str, Any]) -> None:
    destination, options = one["destination"], list(one["options"])
    if one["kind"] == "tmpfs":
        if destination != "/etc/file":
            subject.mount(destination, "tmpfs", "tmpfs", *options, "size=64k")
        return
    path = cases.volume(subject, f"volume-{number}")
    if (one["kind"] == "file") != (destination == "/etc/file"):
        return
    source = f"{path}/file" if one["kind"] == "file" else path
    words = ["rbind" if one["recursive"] else "bind", *options]
    subject.mount(destination, "bind", source, *words, *filter(None, [one["propagation"]]))
