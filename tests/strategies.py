"""All hypothesis strategies: valid configurations, mutated ones, arbitrary JSON.

Two profiles: `ci` (the default: derandomized) and `deep` (HYPOTHESIS_PROFILE=deep, by hand).
"""

from __future__ import annotations

import copy
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_CALM = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "ci", derandomize=True, max_examples=200, deadline=None, suppress_health_check=_CALM
)
settings.register_profile(
    "deep", max_examples=20_000, deadline=None, suppress_health_check=_CALM, database=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def base_config():
    """Return the smallest useful config.json, new each time: tests mutate it."""
    return {
        "ociVersion": "1.2.1",
        "root": {"path": "rootfs"},
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {
            "namespaces": [
                {"type": type_} for type_ in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ]
        },
    }


def config_with(path, value):
    """Return the base configuration with `value` at the dotted `path`."""
    config = base_config()
    place = config
    *parents, last = path.split(".")
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return config


# ---- arbitrary JSON ------------------------------------------------------------------------------
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 2**31, 2**32, 2**63, 2**64, 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["", "\0", "/\0", "\ud800", "é", "a\nb", "/", "ro"])
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

# ---- valid configurations ------------------------------------------------------------------------
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
paths = words.map(lambda word: f"/{word}")
ids = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
limits = st.integers(-1, 2**63 - 1)
cpu_lists = st.sampled_from(["", "0", "0-3", "0-3,7", "1, 2"])
weights = st.just(0) | st.integers(10, 1000)


def fields(required=None, **optional):
    return st.fixed_dictionaries(required or {}, optional=optional)


def lists(strategy):
    return st.lists(strategy, max_size=3)


rlimits = st.tuples(uint64, uint64).flatmap(
    lambda pair: st.fixed_dictionaries(
        {
            "type": st.sampled_from(["RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_AS"]),
            "soft": st.just(min(pair)),
            "hard": st.just(max(pair)),
        }
    )
)
schedulers = st.one_of(
    fields(
        {"policy": st.sampled_from(["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_ISO"])},
        nice=st.integers(-20, 19),
        flags=lists(st.sampled_from(["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_POLICY"])),
    ),
    fields({"policy": st.sampled_from(["SCHED_FIFO", "SCHED_RR"])}, priority=st.integers(0, 99)),
    fields({"policy": st.just("SCHED_DEADLINE")}, runtime=uint64, deadline=uint64, period=uint64),
)
capability_names = lists(st.sampled_from(["CAP_KILL", "CAP_SYS_ADMIN", "CAP_NEW_ONE"]))
processes = fields(
    {"args": st.lists(words, min_size=1, max_size=3), "cwd": paths},
    env=lists(st.tuples(st.sampled_from(["PATH", "é"]), words).map("=".join)),
    terminal=st.booleans(),
    consoleSize=fields({"height": st.integers(0, 65535), "width": st.integers(0, 65535)}),
    user=fields(uid=ids, gid=ids, umask=ids, additionalGids=lists(ids), username=words),
    capabilities=fields(
        bounding=capability_names,
        effective=capability_names,
        permitted=capability_names,
        inheritable=capability_names,
        ambient=capability_names,
    ),
    rlimits=st.lists(rlimits, max_size=3, unique_by=lambda limit: limit["type"]),
    noNewPrivileges=st.booleans(),
    apparmorProfile=words,
    selinuxLabel=words,
    oomScoreAdj=st.integers(-1000, 1000),
    scheduler=schedulers,
    ioPriority=fields(
        {"class": st.sampled_from(["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"])},
        priority=st.integers(0, 7),
    ),
    execCPUAffinity=fields(initial=cpu_lists, final=cpu_lists),
)
device_rules = fields(
    {"allow": st.booleans(), "access": st.sampled_from(["r", "w", "m", "rw", "rwm"])},
    type=st.sampled_from(["a", "b", "c"]),
    major=st.integers(-1, 2**32 - 1),
    minor=st.integers(-1, 2**32 - 1),
)
throttles = lists(fields({"major": ids, "minor": ids, "rate": uint64}))
resources = fields(
    devices=lists(device_rules),
    memory=fields(
        limit=st.integers(-1, 2**40),
        swap=st.just(-1) | st.integers(2**40, 2**63 - 1),
        reservation=limits,
        kernel=limits,
        kernelTCP=limits,
        swappiness=st.integers(0, 100),
        disableOOMKiller=st.booleans(),
        useHierarchy=st.booleans(),
        checkBeforeUpdate=st.booleans(),
    ),
    cpu=fields(
        shares=uint64,
        quota=st.just(-1) | st.integers(1000, 2**40),
        period=uint64,
        burst=st.integers(0, 1000),
        realtimeRuntime=limits,
        realtimePeriod=uint64,
        cpus=cpu_lists,
        mems=cpu_lists,
        idle=st.integers(0, 1),
    ),
    pids=fields({"limit": limits}),
    blockIO=fields(
        weight=weights,
        leafWeight=weights,
        weightDevice=lists(fields({"major": ids, "minor": ids, "weight": weights})),
        throttleReadBpsDevice=throttles,
        throttleWriteBpsDevice=throttles,
        throttleReadIOPSDevice=throttles,
        throttleWriteIOPSDevice=throttles,
    ),
    hugepageLimits=lists(
        fields({"pageSize": st.sampled_from(["64KB", "2MB", "1GB"]), "limit": uint64})
    ),
    network=fields(classID=ids, priorities=lists(fields({"name": names, "priority": ids}))),
    rdma=st.dictionaries(names, fields({"hcaHandles": ids}, hcaObjects=ids), max_size=2),
    unified=st.dictionaries(
        st.sampled_from(["memory.high", "cpu.weight", "hugetlb.1GB.max"]), words, max_size=2
    ),
)
actions = st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"])
errno_rules = {"action": st.sampled_from(["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"])}
syscall_names = st.lists(st.sampled_from(["read", "write", "no_such_call"]), min_size=1, max_size=3)
syscall_args = lists(
    fields(
        {
            "index": st.integers(0, 5),
            "value": uint64,
            "op": st.sampled_from(["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_MASKED_EQ"]),
        },
        valueTwo=uint64,
    )
)
seccomps = fields(
    {"defaultAction": st.sampled_from(["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"])},
    defaultErrnoRet=st.integers(0, 4095),
    architectures=lists(st.sampled_from(["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"])),
    flags=lists(st.sampled_from(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])),
    listenerPath=paths,
    syscalls=lists(
        fields({"names": syscall_names, "action": actions}, args=syscall_args)
        | fields(
            {"names": syscall_names, **errno_rules},
            errnoRet=st.integers(0, 4095),
            args=syscall_args,
        )
    ),
)
id_mappings = st.lists(
    st.fixed_dictionaries(
        {
            "containerID": st.integers(0, 2**31),
            "hostID": st.integers(0, 2**31),
            "size": st.integers(1, 2**31 - 1),
        }
    ),
    min_size=1,
    max_size=2,
)
mounts = fields(
    {"destination": names},
    type=st.sampled_from(["", "bind", "proc", "tmpfs"]),
    source=words,
    options=lists(st.sampled_from(["", "ro", "rbind", "nosuid", "size=1m", "rslave", "x=\u00e9"])),
)
devices = fields(
    {"type": st.sampled_from(["c", "b", "u", "p"]), "path": paths, "major": ids, "minor": ids},
    fileMode=st.integers(0, 512),
    uid=ids,
    gid=ids,
)
hooks = lists(
    fields({"path": paths}, args=lists(words), env=lists(words), timeout=st.integers(1, 2**31))
)
linuxes = fields(
    {
        "namespaces": st.just(
            [
                {"type": type_}
                for type_ in ("pid", "network", "ipc", "uts", "mount", "cgroup", "user", "time")
            ]
        ),
        "uidMappings": id_mappings,
        "gidMappings": id_mappings,
    },
    devices=lists(devices),
    cgroupsPath=words,
    resources=resources,
    rootfsPropagation=st.sampled_from(["private", "shared", "slave", "unbindable"]),
    seccomp=seccomps,
    sysctl=st.dictionaries(
        st.sampled_from(["net.core.somaxconn", "kernel.msgmax", "net/ipv4/conf/eth0.1/x"]),
        words,
        max_size=2,
    ),
    maskedPaths=lists(paths),
    readonlyPaths=lists(paths),
    mountLabel=words,
    intelRdt=fields(
        closID=st.sampled_from(["", "gold"]),
        l3CacheSchema=words,
        memBwSchema=st.just("MB:0=20"),
        enableCMT=st.booleans(),
        enableMBM=st.booleans(),
        schemata=lists(words),
        enableMonitoring=st.booleans(),
    ),
    personality=fields({"domain": st.sampled_from(["LINUX", "LINUX32"])}, flags=lists(words)),
    timeOffsets=fields(
        monotonic=fields(secs=st.integers(-(2**63), 2**63 - 1)),
        boottime=fields(nanosecs=st.integers(0, 999_999_999)),
    ),
    netDevices=st.dictionaries(st.sampled_from(["eth0", "wlan%d"]), fields(name=st.just("eth1"))),
    memoryPolicy=fields(
        {"mode": st.sampled_from(["MPOL_BIND", "MPOL_WEIGHTED_INTERLEAVE"])},
        nodes=cpu_lists,
        flags=lists(st.sampled_from(["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"])),
    ),
)
valid_configs = fields(
    {
        "ociVersion": st.sampled_from(["1.0.2-dev", "1.2.1", "1.99.0", "0.1.0", "1.2.0-rc.1+x"]),
        "root": fields({"path": names}, readonly=st.booleans()),
        "linux": linuxes,
    },
    process=processes,
    hostname=words,
    domainname=words,
    mounts=lists(mounts),
    hooks=fields(
        prestart=hooks,
        createRuntime=hooks,
        createContainer=hooks,
        startContainer=hooks,
        poststart=hooks,
        poststop=hooks,
    ),
    annotations=st.dictionaries(names, words, max_size=3),
)


# ---- mutated configurations ----------------------------------------------------------------------
def places(value):
    """Return every (container, key) inside `value`."""
    found = []
    pending = [value]
    while pending:
        container = pending.pop()
        keys = container if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], dict | list):
                pending.append(container[key])
    return found


# Values that are right somewhere else: they reach further into the parser than arbitrary ones.
near_misses = st.sampled_from(
    [
        *(None, "", "0", 0, -1, 1, 1.0, True, 2**32, 2**63, 2**64),
        *([], {}, [""], [None], [{}], {"": ""}, {"x": None}),
        *("/", "relative", "a\0b", "\ud800", "SCMP_ACT_NOTIFY", "user", "time", "p"),
    ]
)


@st.composite
def mutated(draw, configs):
    """Draw one of `configs` with one to three places replaced, removed or added to."""
    config = copy.deepcopy(draw(configs))
    for _ in range(draw(st.integers(1, 3))):
        found = places(config)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        kind = draw(st.sampled_from(["replace", "remove", "repeat"]))
        if kind == "replace":
            # A copy: the next round may spoil what is drawn here, and some of it is drawn twice.
            container[key] = copy.deepcopy(draw(near_misses | json_values))
        elif kind == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[f"{key}x"] = copy.deepcopy(container[key])
    return config


# ---- mount options -------------------------------------------------------------------------------
def mount_option_lists(known):
    """Return lists of known and unknown mount options."""
    return st.lists(st.sampled_from(sorted(known)) | words, max_size=6).map(tuple)
