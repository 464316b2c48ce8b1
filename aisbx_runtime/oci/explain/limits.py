"""Limits: memory, processors, processes, disks and resource limits, in units for people."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci.explain.case import Danger, Section
from aisbx_runtime.oci.plan import cgroup
from aisbx_runtime.oci.spec.model import Cpu, Memory, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case
    from aisbx_runtime.oci.spec.model import BlockIo, Rlimit

_INFINITY = (1 << 64) - 1
_BYTES = frozenset(
    f"RLIMIT_{name}"
    for name in ("AS", "CORE", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "RSS", "STACK")
)
_DEFAULT_PERIOD = 100_000


def limits(case: Case) -> Section:
    """Say how much it may use."""
    resources = case.spec.linux.resources or Resources()
    enforced = _enforcement(case)
    values: dict[str, str] = {
        **_memory(resources.memory or Memory()),
        **_cpu(resources.cpu or Cpu()),
        **_other(resources),
    }
    says = [f"{name}: {value}" for name, value in values.items()]
    if values and enforced == "best effort":
        says.append("each of them only where this user was given the cgroup controller")
    if not values:
        says.append("no cgroup limits: it may use all memory, processors and processes")
    if enforced == "none":
        says.append("none of these is enforced: cgroups are disabled, or there are none")
    says.extend([_rlimit(one) for one in case.process.rlimits])
    score = case.process.oom_score_adj
    if score is not None:
        says.append(f"when memory is short: {_score(score)} ({score})")
    facts: dict[str, object] = {
        "enforcement": enforced,
        "limits": values,
        "rlimits": [
            {
                "type": one.type,
                "soft": None if one.soft == _INFINITY else one.soft,
                "hard": None if one.hard == _INFINITY else one.hard,
            }
            for one in case.process.rlimits
        ],
        "oom_score_adj": score,
        "cgroups": list(case.plan.cgroups),
    }
    return Section("limits", "Limits", tuple(says), facts)


def _enforcement(case: Case) -> str:
    if not case.plan.cgroups:
        return "none"
    return "best effort" if cgroup.is_optional(case.host) else "real"


def _memory(memory: Memory) -> dict[str, str]:
    found: dict[str, str] = {}
    if memory.limit:
        found["memory"] = _bytes(memory.limit)
    if memory.swap is not None and memory.swap != 0:
        if memory.swap < 0 or memory.limit is None or memory.limit < 0:
            found["memory and swap"] = _bytes(memory.swap)
        else:
            rest = memory.swap - memory.limit
            found["swap"] = _bytes(rest) if rest > 0 else "none"
    if memory.reservation:
        found["memory kept for it"] = _bytes(memory.reservation)
    return found


def _bytes(number: int) -> str:
    return "unlimited" if number < 0 else page.amount(number)


def _cpu(cpu: Cpu) -> dict[str, str]:
    found: dict[str, str] = {}
    if cpu.quota is not None and cpu.quota > 0:
        used = cpu.quota / (cpu.period or _DEFAULT_PERIOD)
        found["processors"] = f"{used:.4g} of them at a time"
    if cpu.shares:
        found["share of processor time"] = (
            "the usual one" if cpu.shares == 1024 else f"{cpu.shares / 1024:.4g} times the usual"
        )
    if cpu.cpus:
        found["on the processors"] = cpu.cpus
    if cpu.mems:
        found["memory of the nodes"] = cpu.mems
    if cpu.idle:
        found["idle"] = "runs only when nobody else wants to"
    return found


def _other(resources: Resources) -> dict[str, str]:
    found: dict[str, str] = {}
    pids = resources.pids
    if pids is not None and pids.limit is not None and pids.limit >= 0:
        found["processes and threads"] = f"{pids.limit}"
    if resources.block_io is not None:
        found.update(_disks(resources.block_io))
    for huge in resources.hugepage_limits:
        found[f"huge pages of {huge.page_size}"] = page.amount(huge.limit)
    for rdma in resources.rdma:
        parts = (("handles", rdma.hca_handles), ("objects", rdma.hca_objects))
        found[f"rdma device {rdma.device}"] = page.listed(
            [f"{number} {what}" for what, number in parts if number is not None]
        )
    found.update(resources.unified)
    return found


def _disks(io: BlockIo) -> dict[str, str]:
    found: dict[str, str] = {}
    if io.weight:
        found["share of the disks"] = f"weight {io.weight} (10 to 1000)"
    for one in io.throttle_read_bps_device:
        found[f"reads of {one.major}:{one.minor}"] = f"{page.amount(one.rate)} a second"
    for one in io.throttle_write_bps_device:
        found[f"writes to {one.major}:{one.minor}"] = f"{page.amount(one.rate)} a second"
    for one in io.throttle_read_iops_device:
        found[f"read operations of {one.major}:{one.minor}"] = f"{one.rate} a second"
    for one in io.throttle_write_iops_device:
        found[f"write operations to {one.major}:{one.minor}"] = f"{one.rate} a second"
    return found


def _rlimit(one: Rlimit) -> str:
    soft, hard = _amount(one.type, one.soft), _amount(one.type, one.hard)
    more = "" if soft == hard else f", which it may raise to {hard}"
    return f"{one.type.removeprefix('RLIMIT_').lower()}: {soft}{more}"


def _amount(kind: str, number: int) -> str:
    if number == _INFINITY:
        return "unlimited"
    return page.amount(number) if kind in _BYTES else str(number)


def _score(score: int) -> str:
    if score == 0:
        return "as likely to be killed as others"
    if score <= -1000:
        return "never killed"
    return "killed later than others" if score < 0 else "killed before others"


def dangers(case: Case) -> list[Danger]:
    """Return what it may use up."""
    resources = case.spec.linux.resources or Resources()
    none = _enforcement(case) == "none"
    memory = resources.memory.limit if resources.memory is not None else None
    pids = resources.pids.limit if resources.pids is not None else None
    unlimited = frozenset({None, "max"})
    found: list[Danger] = []
    has_memory = (memory or 0) > 0 or resources.unified.get("memory.max") not in unlimited
    if none or not has_memory:
        found.append(
            Danger(
                "no-memory-limit", 22, "it may use all the memory",
                "others are killed or swapped out when it takes too much",
                "set linux.resources.memory.limit", "linux.resources.memory",
            )
        )  # fmt: skip
    has_pids = (pids is not None and pids >= 0) or (
        resources.unified.get("pids.max") not in unlimited
    )
    if none or not has_pids:
        found.append(
            Danger(
                "no-pids-limit", 25, "it may start any number of processes",
                "a fork bomb takes the machine down",
                "set linux.resources.pids.limit", "linux.resources.pids",
            )
        )  # fmt: skip
    return found
