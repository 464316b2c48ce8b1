"""Bundles written by hand: each turns to one topic of config.json."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.differential.trial import Subject

ALL = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    "CAP_MKNOD", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE",
]  # fmt: skip
# crun dies of SIGPIPE when a hook leaves the state unread.
READ_ALL = "cat >/dev/null"
FILTER = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
    "syscalls": [
        {"names": ["acct", "swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO"},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 97,
            "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}],
        },
        {
            "names": ["getpriority"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 5,
            "args": [{"index": 0, "value": 98, "op": "SCMP_CMP_GT"}],
        },
    ],
}


def process_of(subject: Subject) -> dict[str, Any]:
    process: dict[str, Any] = subject.config["process"]
    return process


def volume(subject: Subject, name: str = "volume") -> str:
    """Make a directory with a file in it, beside the rootfs."""
    path = f"{subject.path}/{name}"
    os.makedirs(f"{path}/below")
    with open(f"{path}/file", "w") as out:
        out.write("text\n")
    return path


def exec_process(subject: Subject, **changes: Any) -> None:
    """Enter by flags alone, and with a process.json made from the container's process."""
    subject.exec_words.append(["--", "/probe", "entered"])
    process = json.loads(json.dumps(process_of(subject)))
    process.update(terminal=False, args=["/probe", "entered"], **changes)
    path = f"{subject.path}/process.json"
    with open(path, "w") as out:
        json.dump(process, out)
    subject.exec_words.append(["--process", path, "--"])


def plain(subject: Subject) -> None:
    """`runc spec`."""
    exec_process(subject)


def privileged(subject: Subject) -> None:
    """Many capabilities, no masks, writable /sys and cgroups."""
    subject.all_capabilities(*ALL)
    process_of(subject)["noNewPrivileges"] = False
    linux = subject.config["linux"]
    del linux["maskedPaths"], linux["readonlyPaths"]
    for one in subject.config["mounts"]:
        if one["type"] in {"sysfs", "cgroup"}:
            one["options"].remove("ro")
    subject.ask("try", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/keys")
    exec_process(subject)


def another_user(subject: Subject) -> None:
    """A user with groups, umask and ambient capabilities."""
    process = process_of(subject)
    process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 7, 7], "umask": 0o27}
    names = ["CAP_NET_BIND_SERVICE", "CAP_KILL"]
    process["capabilities"] = dict.fromkeys(
        ("bounding", "effective", "permitted", "inheritable", "ambient"), names
    )
    process["cwd"] = "/tmp"
    process["env"] = ["PATH=/bin:/", "HOME=/home/me", "A=1", "A=2", "EMPTY="]
    subject.args("probe")
    exec_process(subject)
    subject.exec_words += [
        ["--user", "2000:2001", "--cwd", "/etc", "--env", "B=3", "--", "/probe"],
        ["--cap", "CAP_CHOWN", "--no-new-privs", "--", "/probe"],
    ]


def user_without_capabilities(subject: Subject) -> None:
    """What is effective after the switch to a user who was given sets meant for root."""
    process = process_of(subject)
    process["user"] = {"uid": 1000, "gid": 1000}
    process["noNewPrivileges"] = False
    exec_process(subject)


def terminal(subject: Subject) -> None:
    """A terminal with a size."""
    process_of(subject)["terminal"] = True
    process_of(subject)["consoleSize"] = {"height": 30, "width": 100}
    exec_process(subject)


def terminal_of_a_user(subject: Subject) -> None:
    """A terminal for somebody who is not root."""
    terminal(subject)
    process_of(subject)["user"] = {"uid": 1000, "gid": 1000}


def user_namespace(subject: Subject) -> None:
    """A user namespace of its own; cgroups without their namespace cannot be mounted there."""
    subject.user_namespace()
    subject.namespace("cgroup")
    subject.all_capabilities(*ALL)
    volume_path = volume(subject)
    subject.mount("/data", "bind", volume_path, "rbind", "nosuid", "nodev")
    process_of(subject)["cwd"] = "/var/lib/made/here"
    exec_process(subject)


def no_namespaces(subject: Subject) -> None:
    """Only a mount and a pid namespace."""
    for kind in ("network", "ipc", "uts"):
        subject.without_namespace(kind)
    subject.config["mounts"] = [
        one for one in subject.config["mounts"] if one["type"] not in {"mqueue", "sysfs", "cgroup"}
    ]
    del subject.config["hostname"]
    exec_process(subject)


def host_pids(subject: Subject) -> None:
    """The pid namespace of the host."""
    subject.without_namespace("pid")
    exec_process(subject)


def minimal(subject: Subject) -> None:
    """No mounts, no capabilities, no environment: nothing is given that was not asked for."""
    subject.config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    process = process_of(subject)
    for key in ("capabilities", "rlimits", "env"):
        del process[key]
    subject.config["linux"] = {
        "namespaces": [{"type": "mount"}, {"type": "pid"}],
        "cgroupsPath": subject.cgroup,
    }
    del subject.config["hostname"]


def mounts(subject: Subject) -> None:
    """Bind mounts and tmpfs with many options, nested, over files, at places to be made."""
    path = volume(subject)
    subject.mount("/a/b/c", "bind", path, "bind", "ro")
    subject.mount("/rw", "bind", path, "rbind", "rw", "noexec", "noatime")
    subject.mount("/shared", "bind", path, "rbind", "rshared")
    subject.mount("/slave", "bind", path, "rbind", "rslave", "nodiratime")
    subject.mount("/private", "bind", path, "rbind", "private", "strictatime")
    subject.mount("/atime", "tmpfs", "tmpfs", "strictatime", "noatime")
    subject.mount("/unbindable", "bind", path, "bind", "unbindable")
    subject.mount("/a/b/c/below", "tmpfs", "tmpfs", "size=64k", "mode=700", "nosuid")
    subject.mount("/run/secret", "bind", f"{path}/file", "bind", "ro", "nosuid", "nodev", "noexec")
    subject.mount("/etc/hosts", "bind", f"{path}/file", "bind")
    subject.mount("/scratch", "tmpfs", "some-name", "rw", "uid=5", "gid=6", "nr_inodes=100")
    subject.mount("/scratch/deep", "tmpfs", "tmpfs", "ro")
    subject.mount("/tmp", "tmpfs", "tmpfs")
    subject.mount("/relative", "bind", "volume", "bind")
    subject.config["linux"]["rootfsPropagation"] = "slave"
    subject.config["root"]["readonly"] = True


def overmounted(subject: Subject) -> None:
    """The same destination twice, a link as destination, dots and slashes in paths."""
    path = volume(subject)
    os.symlink("/opt", f"{subject.rootfs}/link")
    os.symlink("../../../../srv", f"{subject.rootfs}/up")
    subject.mount("/var", "bind", path, "bind")
    subject.mount("/var", "tmpfs", "tmpfs", "size=32k")
    subject.mount("/link/new", "bind", path, "bind", "ro")
    subject.mount("/up", "tmpfs", "tmpfs")
    subject.mount("/home/../home//x/", "tmpfs", "tmpfs")
    subject.mount("relative/place", "tmpfs", "tmpfs")


def tmpcopyup(subject: Subject) -> None:
    """A tmpfs that begins with what the image has there."""
    subject.file("etc/secret", "text", 0o600)
    os.symlink("passwd", f"{subject.rootfs}/etc/link")
    os.chown(f"{subject.rootfs}/etc/secret", 3, 4)
    os.chmod(f"{subject.rootfs}/etc", 0o750)
    subject.mount("/etc", "tmpfs", "tmpfs", "tmpcopyup", "nosuid")
    subject.ask("walk", "/etc")


def read_only_dev(subject: Subject) -> None:
    """A read-only /dev, and a devpts with its own rights."""
    for one in subject.config["mounts"]:
        if one["destination"] == "/dev":
            one["options"].append("ro")
        if one["destination"] == "/dev/pts":
            one["options"] = ["nosuid", "noexec", "newinstance", "ptmxmode=0000", "mode=0600"]


def no_rules(subject: Subject) -> None:
    """No device rules at all, and the capability to make devices."""
    subject.all_capabilities(*ALL)
    del subject.config["linux"]["resources"]


def delegated(subject: Subject) -> None:
    """A user namespace, a cgroup namespace and a writable /sys/fs/cgroup."""
    user_namespace(subject)
    for one in subject.config["mounts"]:
        if one["type"] == "cgroup":
            one["options"].remove("ro")


def no_dev(subject: Subject) -> None:
    """The rootfs's own /dev: nodes go into the image."""
    subject.config["mounts"] = [
        one for one in subject.config["mounts"] if not one["destination"].startswith("/dev")
    ]
    subject.all_capabilities(*ALL)


def bound_dev(subject: Subject) -> None:
    """The host's /dev and /sys, as privileged containers of some engines have them."""
    kept = [one for one in subject.config["mounts"] if not one["destination"].startswith("/dev")]
    subject.config["mounts"] = [one for one in kept if one["destination"] != "/sys"]
    path = volume(subject, "dev")
    os.mknod(f"{path}/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    subject.mount("/dev", "bind", path, "rbind", "rprivate", "nosuid")
    subject.mount("/sys", "bind", "/sys/kernel", "bind", "ro")
    subject.config["mounts"] = [one for one in subject.config["mounts"] if one["type"] != "cgroup"]


def paths(subject: Subject) -> None:
    """Masked and read-only: files, directories, links, mount points, and what is not there."""
    subject.file("secret", "text")
    os.mkdir(f"{subject.rootfs}/hidden")
    subject.file("hidden/file", "text")
    os.symlink("secret", f"{subject.rootfs}/link")
    os.mkdir(f"{subject.rootfs}/fixed")
    subject.file("fixed-file", "text")
    path = volume(subject)
    subject.mount("/opt", "bind", path, "bind", "nosuid", "noexec")
    linux = subject.config["linux"]
    linux["maskedPaths"] += ["/secret", "/hidden", "/nowhere", "/opt/below", "/proc/kcore"]
    linux["readonlyPaths"] += ["/fixed", "/fixed-file", "/opt", "/nowhere", "/tmp"]
    subject.all_capabilities(*ALL)


def devices(subject: Subject) -> None:
    """Devices, fifos, owners and modes, and rules for them."""
    linux = subject.config["linux"]
    linux["devices"] = [  # not /dev/null: runc's own set-up fails then
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666},
        {"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 5, "uid": 7, "gid": 8},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 0, "fileMode": 0o640},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/run/unbuffered", "type": "u", "major": 1, "minor": 7},
    ]
    subject.resources(
        devices=[
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": True, "type": "b", "major": 7, "access": "r"},
            {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "m"},
        ]
    )
    subject.all_capabilities(*ALL)
    process_of(subject)["noNewPrivileges"] = False


def limits(subject: Subject) -> None:
    """rlimits, oom_score_adj, sysctls, names."""
    process = process_of(subject)
    process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 30},
        {"type": "RLIMIT_NPROC", "soft": 500, "hard": 600},
        {"type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 4096},
    ]
    process["oomScoreAdj"] = 321
    subject.config["linux"]["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "kernel.msgmax": "4096",
        "net.ipv4.ping_group_range": "0 5",
        "kernel.domainname": "example.org",
    }
    subject.config["hostname"] = "a-name"
    subject.config["annotations"] = {"org.example.key": "value", "other": ""}
    exec_process(subject, oomScoreAdj=400)


def filtered(subject: Subject) -> None:
    """A filter, installed late because of no_new_privs."""
    subject.config["linux"]["seccomp"] = FILTER
    exec_process(subject)


def filtered_early(subject: Subject) -> None:
    """A filter without no_new_privs."""
    process_of(subject)["noNewPrivileges"] = False
    filtered(subject)


def odd_caller(subject: Subject) -> None:
    """A caller with odd attributes: what of them is passed on."""
    script = (
        "umask 077; ulimit -c 0; ulimit -S -n 300; echo 0x13 >/proc/self/coredump_filter;"
        'cd /; trap "" HUP USR1; exec 7</etc/passwd; exec nice -n 3 ionice -c 2 -n 6 "$@"'
    )
    subject.caller = ["env", "-i", "PATH=/usr/sbin:/usr/bin", "SECRET=1", "sh", "-c", script, "sh"]
    exec_process(subject)


def preserved(subject: Subject) -> None:
    """--preserve-fds."""
    script = 'exec 3</etc/passwd 4</etc/group 5</etc/fstab; exec "$@"'
    subject.caller = ["sh", "-c", script, "sh"]
    subject.flags = ["--preserve-fds", "2"]


def joined_by_path(subject: Subject) -> None:
    """Namespaces by path: those of this session."""
    for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts")):
        subject.namespace(kind, f"/proc/{os.getpid()}/ns/{name}")
    del subject.config["hostname"]
    exec_process(subject)


def cgroup_namespace(subject: Subject) -> None:
    """A cgroup namespace, below a parent that must be made."""
    subject.namespace("cgroup")
    subject.config["linux"]["cgroupsPath"] = f"/{subject.id}/inner"
    subject.ask("walk", "/sys/fs/cgroup/cgroup.procs")
    exec_process(subject)


def resources(subject: Subject) -> None:
    """The limits that this view of the host can hold."""
    has = subject.view.has
    wanted: dict[str, Any] = {
        "memory": {"limit": 64 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000},
        "cpuset": {"cpus": "0", "mems": "0"},
        "pids": {"limit": 50},
    }
    for name, values in wanted.items():
        if has(name):
            subject.config["linux"].setdefault("resources", {})
            subject.resources(**{name if name != "cpuset" else "cpu": values})
    exec_process(subject)


def hooks(subject: Subject) -> None:
    """All hooks, each leaving its mark in the rootfs or beside it."""
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer"):
        where = "/mark" if kind == "startContainer" else f"{subject.rootfs}/mark"
        shell = "/bin/sh"
        names = 'env | cut -d= -f1 | grep -vx "_\\|SHLVL\\|PWD"'
        script = f"{READ_ALL}; echo {kind} $PWD $({names}) >>{where}"
        subject.hook(kind, shell, "-c", script)
        subject.config["hooks"][kind][-1]["args"][0] = "sh"
    subject.hook("poststart", "/bin/sh", "-c", READ_ALL)
    subject.hook("poststop", "/bin/sh", "-c", READ_ALL)
    subject.ask("read", "/mark")


HELPERS = {"process_of", "volume", "exec_process"}
CASES: dict[str, Callable[[Subject], None]] = {
    name: value
    for name, value in list(globals().items())
    if getattr(value, "__module__", "") == __name__ and name not in HELPERS
}
# Compared on the host as it is as well, where its cgroups are hybrid.
EVERYWHERE = {
    "plain", "privileged", "user_namespace", "minimal", "devices", "no_rules", "cgroup_namespace",
    "resources", "delegated",
}  # fmt: skip
