"""What is thrown at the runtime: config.json, process.json, resources.json and command lines.

Everything is made of a document that works, which is then spoilt: so it reaches far. Texts hold
placeholders, @ID@ and @BUNDLE@, so that a finding can be written down as an example.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from integration.bundle import base_config
from tests.strategies import json_values, near_misses, places

if TYPE_CHECKING:
    from collections.abc import Callable

ID, BUNDLE = "@ID@", "@BUNDLE@"

# ---- values ------------------------------------------------------------------------------------
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

# Keys whose odd values would reach the machine outside of bundle and session.
SPARED = {"netDevices"}
HOOK_PATHS = {"/bin/true", "/bin/false", "/nosuch", "/etc/passwd", "/", "x", "/a\nb", ""}
ROOT_PATHS = {
    "rootfs",
    "",
    ".",
    "..",
    "nosuch",
    "config.json",
    "loop",
    "rootfs/../rootfs",
    "rootfs/etc",
}


def value_for(key: Any) -> st.SearchStrategy[Any]:
    return BY_KEY.get(key, numbers | words) | near_misses | json_values


# ---- documents that work -----------------------------------------------------------------------
def rich_config() -> dict[str, Any]:
    """Return a config.json that works, with something at most places there are."""
    config = base_config()
    process, linux = config["process"], config["linux"]
    process["args"] = ["/bin/sh", "-c", "exit 0"]
    process["user"] = {"uid": 0, "gid": 0, "additionalGids": [5, 1000], "umask": 18}
    process["oomScoreAdj"] = 100
    process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 4}
    process["scheduler"] = {"policy": "SCHED_OTHER", "nice": 1}
    config["domainname"] = "example.org"
    config["annotations"] = {"org.example.key": "value"}
    config["mounts"] += [
        {"destination": "/mnt", "type": "bind", "source": "/bin", "options": ["rbind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
    ]
    config["hooks"] = {
        kind: [{"path": "/bin/true", "args": ["true", kind], "timeout": 5}]
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    }
    linux["cgroupsPath"] = f"/{ID}"
    linux["sysctl"] = {"net.core.somaxconn": "1024"}
    linux["rootfsPropagation"] = "private"
    linux["devices"] = [
        {
            "path": "/dev/mine",
            "type": "c",
            "major": 1,
            "minor": 3,
            "fileMode": 438,
            "uid": 0,
            "gid": 0,
        }
    ]
    linux["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": 1 << 28, "reservation": 1 << 27},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 100},
        "hugepageLimits": [],
        "unified": {},
    }
    linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
             "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]},
        ],
    }  # fmt: skip
    return config


def user_config() -> dict[str, Any]:
    """Return a config.json with a user namespace, which takes other ways."""
    config = rich_config()
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = copy.deepcopy(MAPPINGS[0])
    config["linux"]["gidMappings"] = copy.deepcopy(MAPPINGS[0])
    config["linux"]["devices"] = []
    config["process"]["scheduler"] = None
    return config


def process_document() -> dict[str, Any]:
    return {
        **{key: value for key, value in rich_config()["process"].items() if value is not None},
        "consoleSize": {"height": 24, "width": 80},
        "execCPUAffinity": {"initial": "0", "final": "0"},
        "apparmorProfile": "",
        "selinuxLabel": "",
    }


def resources_document() -> dict[str, Any]:
    return {
        "memory": {
            "limit": 1 << 28, "swap": 1 << 29, "reservation": 1 << 27, "kernel": 1 << 28,
            "checkBeforeUpdate": False,
        },
        "cpu": {
            "shares": 512, "quota": 50000, "period": 100000, "burst": 0, "cpus": "0", "mems": "0",
            "realtimeRuntime": 0, "realtimePeriod": 1000000, "idle": 0,
        },
        "pids": {"limit": 100},
        "blockIO": {
            "weight": 100,
            "throttleReadBpsDevice": [{"major": 1, "minor": 0, "rate": 1 << 20}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
        "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
        "rdma": {"mlx": {"hcaHandles": 1}},
        "unified": {"pids.max": "100"},
        "devices": [{"allow": False, "access": "rwm"}],
    }  # fmt: skip


# ---- spoiling ----------------------------------------------------------------------------------
@st.composite
def spoilt(draw: Any, make: st.SearchStrategy[Callable[[], Any]], most: int = 3) -> Any:
    """Draw a document that works with up to `most` places replaced, removed or added to."""
    document = draw(make)()
    for _ in range(draw(st.integers(0, most))):
        found = [place for place in places(document) if place[1] not in SPARED]
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat"]))
        if kind == "replace":
            # What is sampled is one object each time, and may be spoilt later.
            container[key] = copy.deepcopy(draw(value_for(key)))
        elif kind == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[f"{key}x"] = copy.deepcopy(container[key])
    return harmless(document)


def harmless(document: Any) -> Any:
    """Return the document without what would reach the machine: this session is privileged."""
    root = document.get("root") if isinstance(document, dict) else None
    if (
        isinstance(root, dict)
        and isinstance(root.get("path"), str)
        and root["path"] not in ROOT_PATHS
    ):
        root["path"] = "nosuch"
    found = document.get("hooks") if isinstance(document, dict) else None
    for entries in found.values() if isinstance(found, dict) else ():
        for hook in entries if isinstance(entries, list) else ():
            if isinstance(hook, dict) and isinstance(hook.get("path"), str):
                hook["path"] = hook["path"] if hook["path"] in HOOK_PATHS else "/nosuch"
    linux = document.get("linux") if isinstance(document, dict) else None
    path = linux.get("cgroupsPath") if isinstance(linux, dict) else None
    if isinstance(path, str) and path.strip("/.") and ID not in path:
        linux["cgroupsPath"] = f"/{ID}{path}"
    return document


def text_of(document: Any) -> bytes:
    return json.dumps(document).encode()


@st.composite
def texts(draw: Any, make: st.SearchStrategy[Callable[[], Any]]) -> bytes:
    """Draw the bytes of a file: mostly a spoilt document, at times text that is hardly JSON."""
    text = text_of(draw(spoilt(make)))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        at = draw(st.integers(0, len(text)))
        odd = st.sampled_from(
            [b"\xff", b"\0", b"\n", b"{", b"]", b'"', b"\xef\xbb\xbf", b",", b"\x1b"]
        )
        return text[:at] + draw(odd) + text[at + draw(st.integers(0, 2)) :]
    if kind == 1:
        return text.replace(b'": ', b'": null, "x": ', draw(st.integers(1, 3)))
    if kind == 2:
        deep = draw(st.sampled_from([10, 400, 990, 5000]))
        return b'{"x": ' + b"[" * deep + b"]" * deep + b", " + text[1:]
    return text


configs = texts(st.sampled_from([rich_config, rich_config, user_config, base_config]))
processes = texts(st.just(process_document))
resources = texts(st.just(resources_document))
