"""Values for the places of a document: odd ones for any place, and what a key is likely to take."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.strategies import json_values, near_misses

# Placeholders, so that a finding can be written down as an example: `ground` fills them in.
ID, BUNDLE = "@ID@", "@BUNDLE@"

LONG = "x" * 300
PATHS = [
    *("", "/", ".", "..", "//", "/.", "/..", "rootfs", "/etc", "/etc/passwd", "/bin/busybox"),
    *("/../outside", "../outside", "/tmp/../../outside", "/loop", "/loop/x", "/up", "/up/outside"),
    *("/dangling", "/dangling/x", "/a b\tc", "/n\nl", "/\u00e9\u4e2d", "/\x7f\x1b[31m", "/etc/"),
    *("/" + LONG, "/x" * 2100, "/" + "y" * 5000, "/proc", "/proc/self/exe", "/proc/self/fd/3"),
    *("/proc/1/root", "/proc/sys", "/dev", "/dev/null", "/dev/pts", "/sys", "/sys/fs/cgroup"),
    *("a\0b", "\ud800", "\udcff", "/\udcff", "/proc/thread-self/attr/exec", BUNDLE, BUNDLE + "/.."),
]
NUMBERS = [
    *(0, 1, -1, 2, 7, 100, 255, 256, 511, 512, 1023, 4095, 65535, 65536, 1000000),
    *(2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(-(2**31), -(2**63), 10**30, 1.0, 0.5, 1e300, -0.0),
]
WORDS = [
    *("", " ", "a", "A=B", "=", "PATH=", "true", "sh", "-c", "--", "\n", "a\nb", "\t", "x" * 70000),
    *(
        "\u00e9",
        "\u2028",
        "\x85",
        "\x1b]0;x\x07",
        "%s%n",
        "{0}",
        "$HOME",
        "\\",
        '"',
        "'",
        "max",
        "-1",
    ),
    *("CAP_KILL", "cap_kill", "CAP_SYS_ADMIN", "CAP_X", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_X"),
    *("SCHED_FIFO", "SCHED_DEADLINE", "SCHED_OTHER", "IOPRIO_CLASS_RT", "LINUX32", "MPOL_BIND"),
]
OPTIONS = [
    *("ro", "rw", "rbind", "bind", "nosuid", "remount", "rro", "rnosuid", "private", "rshared"),
    *("unbindable", "idmap", "ridmap", "idmap=uids=0-1-2", "tmpcopyup", "copy-symlink", "relatime"),
    *("src-nofollow", "dest-nofollow", "size=1k", "size=", "size=99999999999999999999", "mode=9"),
    *("mode=0777", "uid=1", "x", "x=", "=", "", ",", "ro,rw", "nr_inodes=1", "lowerdir=/", "a\nb"),
    *("upperdir=/tmp,workdir=/tmp", "newinstance", "ptmxmode=0666", "gid=5", "strictatime"),
]
TYPES = [
    *("bind", "tmpfs", "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "overlay", "none"),
    *("", "ext4", "nosuchfs", "ramfs", "debugfs", "securityfs", "fuse", "a\nb", "x" * 300),
]
NAMESPACES = [
    {"type": kind} for kind in ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
] + [
    {"type": "network", "path": path}
    for path in ("/proc/self/ns/net", "/proc/self/ns/uts", "/nosuch", "/dev/null", "")
] + [
    {"type": "pid", "path": "/proc/self/ns/pid"},
    {"type": "user", "path": "/proc/self/ns/user"},
    {"type": "mount", "path": "/proc/self/ns/mnt"},
    {"type": "time", "path": "/proc/self/ns/time"},
    {"type": "cgroup", "path": "/proc/self/ns/cgroup"},
    {"type": ""}, {"type": "mnt"}, {"type": "net"}, {"type": 1}, {"path": "/proc/self/ns/net"},
]  # fmt: skip
MAPPINGS = [
    [{"containerID": 0, "hostID": 100000, "size": 65536}],
    [{"containerID": 1, "hostID": 100000, "size": 65536}],
    [{"containerID": 0, "hostID": 0, "size": 4294967295}],
    [
        {"containerID": 0, "hostID": 100000, "size": 10},
        {"containerID": 5, "hostID": 200000, "size": 9},
    ],
    [{"containerID": number, "hostID": 100000 + number, "size": 1} for number in range(400)],
    [{"containerID": 4294967295, "hostID": 4294967295, "size": 1}],
    [],
]
ACTIONS = [
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_TRAP", "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_X", "",
]  # fmt: skip
OPERATORS = [
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_X",
]  # fmt: skip
ARCHITECTURES = [
    "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X",
    "SCMP_ARCH_RISCV64", "SCMP_ARCH_X",
]  # fmt: skip

paths = st.sampled_from(PATHS)
numbers = st.sampled_from(NUMBERS) | st.integers(-(2**65), 2**65)
words = st.sampled_from(WORDS) | st.text(max_size=8)
options = st.lists(st.sampled_from(OPTIONS), max_size=4)


def several(strategy: st.SearchStrategy[Any], size: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, max_size=size)


def some_of(**keys: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


mounts = some_of(
    destination=paths,
    type=st.sampled_from(TYPES),
    source=paths | st.sampled_from(["tmpfs", "proc", "/bin", "/nosuch"]),
    options=options,
    uidMappings=st.sampled_from(MAPPINGS),
    gidMappings=st.sampled_from(MAPPINGS),
)
devices = some_of(
    path=paths,
    type=st.sampled_from(["c", "b", "u", "p", "x", ""]),
    major=numbers,
    minor=numbers,
    fileMode=numbers,
    uid=numbers,
    gid=numbers,
)
device_rules = some_of(
    allow=st.booleans(),
    access=st.sampled_from(["rwm", "r", "", "x", "rwmrwm"]),
    type=st.sampled_from(["a", "b", "c", "", "x"]),
    major=numbers,
    minor=numbers,
)
seccomps = some_of(
    defaultAction=st.sampled_from(ACTIONS),
    defaultErrnoRet=numbers,
    architectures=several(st.sampled_from(ARCHITECTURES), 7),
    flags=several(st.sampled_from(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "X"])),
    syscalls=several(
        some_of(
            names=several(
                st.sampled_from(["mkdir", "chmod", "socket", "ptrace", "nosuch", "", "a\n"])
            ),
            action=st.sampled_from(ACTIONS),
            errnoRet=numbers,
            args=several(
                some_of(
                    index=st.integers(-1, 7),
                    value=numbers,
                    valueTwo=numbers,
                    op=st.sampled_from(OPERATORS),
                ),
                7,
            ),
        )
    ),
)
hooks = some_of(
    path=st.sampled_from(["/bin/true", "/bin/false", "/nosuch", "/etc/passwd", "/", "x", "/a\nb"]),
    args=several(words),
    env=several(words),
    timeout=st.sampled_from([0, -1, 1, 5, 2**31, 2**63]),
)

# What fits a key, and does not: further in than a value of the wrong type.
BY_KEY: dict[str, st.SearchStrategy[Any]] = {
    "args": several(words, 4) | st.lists(st.just("x"), min_size=3000, max_size=3000),
    "env": several(words, 4),
    "cwd": paths,
    "options": options,
    "destination": paths,
    "source": paths,
    "type": st.sampled_from([*TYPES, "user", "mount", "pid", "RLIMIT_CORE", "c"]),
    "maskedPaths": several(paths),
    "readonlyPaths": several(paths),
    "namespaces": st.lists(st.sampled_from(NAMESPACES), max_size=9),
    "uidMappings": st.sampled_from(MAPPINGS),
    "gidMappings": st.sampled_from(MAPPINGS),
    "mounts": several(mounts) | mounts.map(lambda one: [one] * 500),
    "devices": several(devices | device_rules),
    "seccomp": seccomps,
    "sysctl": st.dictionaries(
        st.sampled_from(
            [
                *("net.ipv4.ping_group_range", "net/ipv4/ip_forward", "kernel.msgmax"),
                *("fs.mqueue.msg_max", "net.nosuch", "kernel.domainname", "net..x", "", "a/../b"),
                *("net.ipv4.../../kernel/x", "fs.mqueue.\n", "net.core.somaxconn"),
            ]
        ),
        words,
        max_size=3,
    ),
    "hostname": words,
    "domainname": words,
    "rootfsPropagation": st.sampled_from(
        ["", "private", "rshared", "slave", "unbindable", "runbindable", "x", "shared"]
    ),
    "ociVersion": st.sampled_from(["1.0.0", "1.3.0", "2.0.0", "", "1", "x", "1.0.2-dev", "1.\n"]),
    "cgroupsPath": st.sampled_from(
        [
            *(f"/{ID}", ID, f"/{ID}/a/b", f"{ID}/\n", f"/{ID}/../x", "", "/", ".", "a\0"),
            *(f"/{ID}/{LONG}", f"system.slice:x:{ID}", f"/{ID}/\u00e9", f"/{ID}/cgroup.procs"),
            f"/{ID}" + "/x" * 900,
        ]
    ),
    "bounding": several(words),
    "effective": several(words),
    "ambient": several(words),
    "inheritable": several(words),
    "rlimits": several(
        some_of(type=st.sampled_from(WORDS[-20:]), soft=numbers, hard=numbers), 4
    ),
    "additionalGids": several(numbers) | st.just(list(range(70000))),
    "prestart": several(hooks),
    "createRuntime": several(hooks),
    "createContainer": several(hooks),
    "startContainer": several(hooks),
    "poststart": several(hooks),
    "poststop": several(hooks),
    "annotations": st.dictionaries(words, words, max_size=3),
    "syscalls": seccomps.map(lambda one: one.get("syscalls", [])),
    "unified": st.dictionaries(
        st.sampled_from(["memory.high", "pids.max", "../x", "cgroup.procs", "a/b", ""]),
        words,
        max_size=2,
    ),
    "hugepageLimits": several(
        some_of(pageSize=st.sampled_from(["2MB", "1GB", "3XB", "../x", ""]), limit=numbers)
    ),
    "cpus": st.sampled_from(["0", "0-1", "99", "1-0", "", "a", "0,", "0\n", "0-4294967295"]),
    "mems": st.sampled_from(["0", "0-1", "99", "", "a"]),
    "access": st.sampled_from(["rwm", "r", "", "x"]),
    "pageSize": st.sampled_from(["2MB", "1GB", "64KB", "3XB", "../x", ""]),
}  # fmt: skip


def value_for(key: Any) -> st.SearchStrategy[Any]:
    return BY_KEY.get(key, numbers | words) | near_misses | json_values
