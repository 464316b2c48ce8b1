"""Limits as cgroup v1 writes them: config.json values -> files of the controllers' hierarchies.

Most values are written as they are: config.json was made for v1.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.plan import cgroup_devices, cgroup_v2
from aisbx_runtime.oci.plan.cgroup_steps import Setting, WriteLimits, write_file
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.bpf.devices import Rule
    from aisbx_runtime.oci.plan.cgroup_v2 import Settings
    from aisbx_runtime.oci.plan.step import World
    from aisbx_runtime.oci.spec.model import (
        BlockIo,
        Cpu,
        HugepageLimit,
        Memory,
        Network,
    )


@record
class FilterDevices:
    """Judge every access to a device by a default and the exceptions from it."""

    origin: str
    directory: str
    allow: bool
    exceptions: tuple[Rule, ...]
    optional: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        first, then = ("allow", "deny") if self.allow else ("deny", "allow")
        listed = ", ".join([cgroup_devices.text_of(rule) for rule in self.exceptions])
        but = f" but {then} {listed}" if listed else ""
        return f"{first} all devices{but} in {self.directory}"

    def apply(self, at: World) -> None:
        """Set the default, which empties the list, then one exception per write."""
        first, then = ("allow", "deny") if self.allow else ("deny", "allow")
        if self.allow and not self.exceptions:
            self._allow_everything()
            return
        settings = [Setting(self.origin, f"devices.{first}", "a")]
        for rule in self.exceptions:
            text = cgroup_devices.text_of(rule)
            settings.append(Setting(self.origin, f"devices.{then}", text))
        for one in settings:
            WriteLimits(self.origin, self.directory, (one,), self.optional).apply(at)

    def _allow_everything(self) -> None:
        try:
            write_file(f"{self.directory}/devices.allow", "a")
        except KernelError as error:
            # A new cgroup has the rules of its parent. When those deny something this fails, and
            # what was asked for, no filter of our own, is there already.
            if error.errno not in {errno.EPERM, errno.EINVAL, errno.EACCES, errno.EROFS}:
                raise


# ---- memory --------------------------------------------------------------------------------------
def memory(wanted: Memory) -> Settings:
    """Return the limit and the one with swap as a pair, and what stands alone."""
    cgroup_v2.check_memory(wanted)
    pair: list[Setting] = []
    if wanted.limit:
        pair.append(Setting("memory.limit", "memory.limit_in_bytes", str(wanted.limit)))
    # The kernel keeps limit <= limit with swap: unlimited memory needs unlimited swap.
    swap = wanted.swap or (-1 if wanted.limit == -1 else 0)
    if swap:
        pair.append(Setting("memory.swap", "memory.memsw.limit_in_bytes", str(swap)))
    settings = [tuple(pair)] if pair else []
    for origin, file, number in (
        ("memory.reservation", "memory.soft_limit_in_bytes", wanted.reservation or None),
        ("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", wanted.kernel_tcp or None),
        ("memory.swappiness", "memory.swappiness", wanted.swappiness),
    ):
        if number is not None:
            settings.append((Setting(origin, file, str(number)),))
    if wanted.disable_oom_killer is not None:
        value = str(int(wanted.disable_oom_killer))
        settings.append((Setting("memory.disableOOMKiller", "memory.oom_control", value),))
    return tuple(settings)


# ---- cpu -----------------------------------------------------------------------------------------
def cpu(wanted: Cpu) -> Settings:
    """Return shares and idle, and the bandwidth: its three values bind each other."""
    share: list[Setting] = []
    if wanted.shares:
        share.append(Setting("cpu.shares", "cpu.shares", str(wanted.shares)))
    if wanted.idle is not None:
        # After the shares: an idle cgroup refuses them.
        share.append(Setting("cpu.idle", "cpu.idle", str(wanted.idle)))
    bandwidth: list[Setting] = []
    if wanted.period:
        bandwidth.append(Setting("cpu.period", "cpu.cfs_period_us", str(wanted.period)))
    if wanted.quota:
        quota = str(max(wanted.quota, -1))
        bandwidth.append(Setting("cpu.quota", "cpu.cfs_quota_us", quota))
    if wanted.burst is not None:
        bandwidth.append(Setting("cpu.burst", "cpu.cfs_burst_us", str(wanted.burst)))
    return tuple([tuple(group) for group in (share, bandwidth) if group])


def realtime(wanted: Cpu) -> Settings:
    """Return the realtime limits.

    Written before container init lives: a process with a realtime policy cannot run where they
    are 0, which is what a new cgroup has (sched-rt-group.rst).
    """
    pair: list[Setting] = []
    if wanted.realtime_period:
        period = str(wanted.realtime_period)
        pair.append(Setting("cpu.realtimePeriod", "cpu.rt_period_us", period))
    if wanted.realtime_runtime:
        runtime = str(wanted.realtime_runtime)
        pair.append(Setting("cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime))
    return (tuple(pair),) if pair else ()


# ---- blkio, hugetlb, network ---------------------------------------------------------------------
def blkio(wanted: BlockIo) -> Settings:
    """Return weights and throttles."""
    settings: list[tuple[Setting, ...]] = []
    if wanted.weight:
        value = str(wanted.weight)
        settings.append((_weight("blockIO.weight", "weight", value),))
    if wanted.leaf_weight:
        value = str(wanted.leaf_weight)
        settings.append((Setting("blockIO.leafWeight", "blkio.leaf_weight", value),))
    for index, one in enumerate(wanted.weight_device):
        origin, device = f"blockIO.weightDevice[{index}]", f"{one.major}:{one.minor}"
        if one.weight:
            settings.append((_weight(origin, "weight_device", f"{device} {one.weight}"),))
        if one.leaf_weight:
            value = f"{device} {one.leaf_weight}"
            settings.append((Setting(origin, "blkio.leaf_weight_device", value),))
    files = ("read_bps_device", "write_bps_device", "read_iops_device", "write_iops_device")
    for field, file, throttles in cgroup_v2.throttles_of(wanted, files):
        for index, limit in enumerate(throttles):
            value = f"{limit.major}:{limit.minor} {limit.rate}"
            origin = f"blockIO.{field}[{index}]"
            settings.append((Setting(origin, f"blkio.throttle.{file}", value),))
    return tuple(settings)


def _weight(origin: str, name: str, value: str) -> Setting:
    # CFQ left in Linux 5.0; its file went with it, and BFQ has its own.
    return Setting(origin, f"blkio.{name}", value, other=(f"blkio.bfq.{name}", value))


def hugetlb(limits: tuple[HugepageLimit, ...]) -> Settings:
    """Return the limits of hugetlb on v1."""
    return cgroup_v2.hugetlb_of(limits, "limit_in_bytes")


def net_cls(wanted: Network) -> Settings:
    """Return the class id of the container's packets."""
    if not wanted.class_id:
        return ()
    return ((Setting("network.classID", "net_cls.classid", str(wanted.class_id)),),)


def net_prio(wanted: Network) -> Settings:
    """Return the priority of the container's packets per interface."""
    settings: list[tuple[Setting, ...]] = []
    for index, one in enumerate(wanted.priorities):
        value = f"{one.name} {one.priority}"
        settings.append((Setting(f"network.priorities[{index}]", "net_prio.ifpriomap", value),))
    return tuple(settings)
