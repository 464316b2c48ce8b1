"""The records of config.json: OCI field names in snake_case, nothing else.

How they are read lives in `parse*`, which rules bind them in `validate`. None means unset; where
Go's `omitempty` makes an empty string equal to an absent one, a path is None, a label "".
"""

from __future__ import annotations

from aisbx_runtime.oci.record import record


# ---- shared --------------------------------------------------------------------------------------
@record
class IdMapping:
    container_id: int
    host_id: int
    size: int


# ---- root, mounts, hooks -------------------------------------------------------------------------
@record
class Root:
    path: str
    readonly: bool = False


@record
class Mount:
    """`destination` is absolute: config.md has a relative one start at "/"."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


@record
class Hook:
    """`timeout` is in seconds. `args` holds argv[0] too, and may be empty."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@record
class Hooks:
    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


# ---- process -------------------------------------------------------------------------------------
@record
class User:
    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


@record
class Capabilities:
    """Names as they were written: an unknown one is for the planner to warn about."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@record
class Rlimit:
    type: str
    soft: int
    hard: int


@record
class Scheduler:
    """`runtime`, `deadline` and `period` are in nanoseconds."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


@record
class IoPriority:
    class_: str
    priority: int = 0


@record
class CpuAffinity:
    initial: str = ""
    final: str = ""


@record
class Process:
    """`console_size` is (height, width), None when absent or 0x0 (docker exec)."""

    args: tuple[str, ...]
    cwd: str
    env: tuple[str, ...] = ()
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    user: User = User()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    exec_cpu_affinity: CpuAffinity | None = None


# ---- linux ---------------------------------------------------------------------------------------
@record
class Namespace:
    """`type` is the OCI name; without `path` a new namespace is made."""

    type: str
    path: str | None = None


@record
class Device:
    """`file_mode` may hold S_IFMT bits (podman): take it & 0o7777."""

    type: str
    path: str
    major: int
    minor: int
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@record
class TimeOffset:
    secs: int = 0
    nanosecs: int = 0


@record
class Personality:
    domain: str
    flags: tuple[str, ...] = ()


@record
class NetDevice:
    """`name` is the device in the runtime namespace, `new_name` the one in the container."""

    name: str
    new_name: str


@record
class IntelRdt:
    clos_id: str = ""
    schemata: tuple[str, ...] = ()
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_cmt: bool = False
    enable_mbm: bool = False
    enable_monitoring: bool = False


@record
class MemoryPolicy:
    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


# ---- seccomp -------------------------------------------------------------------------------------
@record
class SyscallArg:
    index: int
    value: int
    value_two: int
    op: str


@record
class SyscallRule:
    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SyscallArg, ...] = ()


@record
class Seccomp:
    """`flags` None is not the same as (): runc and crun then set SPEC_ALLOW."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[SyscallRule, ...] = ()


# ---- resources -----------------------------------------------------------------------------------
@record
class DeviceRule:
    """`major` and `minor` None stand for any; `access` is made of the letters r, w, m."""

    allow: bool
    type: str
    major: int | None
    minor: int | None
    access: str


@record
class Memory:
    """All limits in bytes; -1 is unlimited."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


@record
class Cpu:
    """Times are in microseconds; a `quota` or `realtime_runtime` of -1 is unlimited."""

    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    burst: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


@record
class Pids:
    """`limit` -1 is unlimited; runtime-spec 1.3 makes it optional."""

    limit: int | None = None


@record
class WeightDevice:
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


@record
class ThrottleDevice:
    """`rate` is in bytes or operations per second."""

    major: int
    minor: int
    rate: int


@record
class BlockIo:
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = ()


@record
class HugepageLimit:
    page_size: str
    limit: int


@record
class InterfacePriority:
    name: str
    priority: int


@record
class Network:
    class_id: int | None = None
    priorities: tuple[InterfacePriority, ...] = ()


@record
class RdmaLimit:
    device: str
    hca_handles: int | None = None
    hca_objects: int | None = None


@record
class Resources:
    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIo | None = None
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: tuple[RdmaLimit, ...] = ()
    unified: dict[str, str] = {}  # noqa: RUF012  (shared by all that have none; nobody writes to it)


# ---- the whole -----------------------------------------------------------------------------------
@record
class Linux:
    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    devices: tuple[Device, ...] = ()
    cgroups_path: str | None = None
    resources: Resources | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    seccomp: Seccomp | None = None
    sysctl: dict[str, str] = {}  # noqa: RUF012  (shared by all that have none; nobody writes to it)
    personality: Personality | None = None
    time_offsets: dict[str, TimeOffset] = {}  # noqa: RUF012  (as above)
    net_devices: tuple[NetDevice, ...] = ()
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None


@record
class Spec:
    oci_version: str
    root: Root
    process: Process | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: dict[str, str] = {}  # noqa: RUF012  (shared by all that have none; nobody writes to it)
    linux: Linux = Linux()
