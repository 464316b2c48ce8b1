"""Read `process`, and the same object alone as the file of `exec --process`."""

from __future__ import annotations

from aisbx_runtime.oci.spec.model import (
    Capabilities,
    CpuAffinity,
    IoPriority,
    Process,
    Rlimit,
    Scheduler,
    User,
)
from aisbx_runtime.oci.spec.node import INT32, UINT16, UINT32, UINT64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.node import Node

SCHEDULER_POLICIES = frozenset(
    "SCHED_" + name for name in ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE")
)
SCHEDULER_FLAGS = frozenset(
    "SCHED_FLAG_" + name
    for name in (
        "RESET_ON_FORK",
        "RECLAIM",
        "DL_OVERRUN",
        "KEEP_POLICY",
        "KEEP_PARAMS",
        "UTIL_CLAMP_MIN",
        "UTIL_CLAMP_MAX",
    )
)
IO_PRIORITY_CLASSES = frozenset("IOPRIO_CLASS_" + name for name in ("RT", "BE", "IDLE"))


def process_of(node: Node) -> Process:
    """Return the process that the object `node` describes."""
    return Process(
        args=node.texts("args"),
        cwd=node.text("cwd"),
        env=node.texts("env"),
        terminal=node.flag("terminal"),
        console_size=_console_size_of(node.child("consoleSize")),
        user=_user_of(node.child("user")),
        capabilities=_capabilities_of(node.child("capabilities")),
        rlimits=tuple(map(_rlimit_of, node.children("rlimits"))),
        no_new_privileges=node.flag("noNewPrivileges"),
        apparmor_profile=node.text("apparmorProfile"),
        selinux_label=node.text("selinuxLabel"),
        # proc(5), oom_score_adj
        oom_score_adj=node.optional_integer("oomScoreAdj", (-1000, 1000)),
        scheduler=_scheduler_of(node.child("scheduler")),
        io_priority=_io_priority_of(node.child("ioPriority")),
        exec_cpu_affinity=_cpu_affinity_of(node.child("execCPUAffinity")),
    )


def _console_size_of(node: Node | None) -> tuple[int, int] | None:
    if node is None:
        return None
    # struct winsize of ioctl_tty(2) holds unsigned shorts.
    size = (node.required_integer("height", UINT16), node.required_integer("width", UINT16))
    return None if size == (0, 0) else size


def _user_of(node: Node | None) -> User:
    if node is None:
        return User()
    return User(
        uid=node.integer("uid", UINT32),
        gid=node.integer("gid", UINT32),
        umask=node.optional_integer("umask", UINT32),
        additional_gids=node.integers("additionalGids", UINT32),
    )


def _capabilities_of(node: Node | None) -> Capabilities | None:
    if node is None:
        return None
    return Capabilities(
        bounding=node.texts("bounding"),
        effective=node.texts("effective"),
        permitted=node.texts("permitted"),
        inheritable=node.texts("inheritable"),
        ambient=node.texts("ambient"),
    )


def _rlimit_of(node: Node) -> Rlimit:
    return Rlimit(
        type=node.required_text("type"),
        soft=node.required_integer("soft", UINT64),
        hard=node.required_integer("hard", UINT64),
    )


def _scheduler_of(node: Node | None) -> Scheduler | None:
    if node is None:
        return None
    return Scheduler(
        policy=node.choice("policy", SCHEDULER_POLICIES),
        nice=node.integer("nice", INT32),
        priority=node.integer("priority", INT32),
        flags=node.choices("flags", SCHEDULER_FLAGS),
        runtime=node.integer("runtime", UINT64),
        deadline=node.integer("deadline", UINT64),
        period=node.integer("period", UINT64),
    )


def _io_priority_of(node: Node | None) -> IoPriority | None:
    if node is None:
        return None
    return IoPriority(
        class_=node.choice("class", IO_PRIORITY_CLASSES), priority=node.integer("priority", (0, 7))
    )


def _cpu_affinity_of(node: Node | None) -> CpuAffinity | None:
    if node is None:
        return None
    return CpuAffinity(initial=node.text("initial"), final=node.text("final"))
