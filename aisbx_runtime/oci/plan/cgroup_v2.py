"""Limits as cgroup v2 writes them: config.json values -> files of one cgroup.

The values of config.json were made for v1; how each converts is told at its function, and agrees
with runc and crun. What v2 cannot limit is refused, never dropped.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.bpf import devices
from aisbx_runtime.oci.errors import KernelError, SpecError, StepError, kernel_error, why_of
from aisbx_runtime.oci.plan.cgroup_steps import Setting, read_file, write_file
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.bpf.devices import Rule
    from aisbx_runtime.oci.plan.step import World
    from aisbx_runtime.oci.spec.model import (
        BlockIo,
        Cpu,
        HugepageLimit,
        Memory,
        Pids,
        RdmaLimit,
        ThrottleDevice,
    )

    Settings = tuple[tuple[Setting, ...], ...]


@record
class WriteCpuPeriod:
    """Write the period and keep the quota: cpu.max holds both, and a quota must be given."""

    origin: str
    directory: str
    period: int

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"write the period {self.period} to cpu.max in {self.directory}"

    def apply(self, at: World) -> None:
        """Read the quota, write both."""
        del at
        path = f"{self.directory}/cpu.max"
        quota = read_file(path).split()[0]
        write_file(path, f"{quota} {self.period}")


@record
class FilterDevices:
    """Judge every access to a device by the rules: an eBPF program on the cgroup."""

    origin: str
    directory: str
    rules: tuple[Rule, ...]
    optional: bool = False
    beside_others: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        allowed = sum(rule.allow for rule in devices.decisive(self.rules))
        return f"attach a device filter ({allowed} rules that allow) to {self.directory}"

    def apply(self, at: World) -> None:
        """Attach it, then take off those that were there: at no time is there none.

        Those of systemd stay (`beside_others`): the kernel asks all, and each may refuse.
        """
        del at
        from aisbx_runtime.oci.kernel import bpf

        try:
            program_fd = bpf.load_device_program(devices.program(self.rules), "aisbx_devices")
            try:
                _attach(self.directory, program_fd, keep=self.beside_others)
            finally:
                os.close(program_fd)
        except KernelError as error:
            # Without CAP_BPF there is no filter; engines rely on it being ignored when rootless.
            if self.optional and error.errno == errno.EPERM:
                return
            raise StepError(
                f"cannot filter the devices of cgroup {self.directory}",
                where=self.origin,
                why=why_of(error),
                hint="run the runtime with CAP_BPF and CAP_SYS_ADMIN, on a kernel with "
                "CONFIG_CGROUP_BPF",
            ) from None


def _attach(directory: str, program_fd: int, *, keep: bool) -> None:
    from aisbx_runtime.oci.kernel import bpf

    try:
        cgroup_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise kernel_error(error.errno or 0, "open", directory) from None
    try:
        before = () if keep else bpf.device_programs(cgroup_fd)
        bpf.attach_device_program(cgroup_fd, program_fd)
        for program_id in before:
            old_fd = bpf.open_program(program_id)
            try:
                bpf.detach_device_program(cgroup_fd, old_fd)
            finally:
                os.close(old_fd)
    finally:
        os.close(cgroup_fd)


@record
class DelegateCgroup:
    """Give the cgroup to the user that the container's process is.

    config-linux.md, "Cgroup ownership": so that systemd in a container can manage what is below.
    """

    origin: str
    directory: str
    uid: int

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"give cgroup {self.directory} to uid {self.uid}"

    def apply(self, at: World) -> None:
        """Change the owner of the directory and of the files that cgroups(7) lists for it."""
        del at
        for name in ("", *_delegated_files()):
            path = f"{self.directory}/{name}"
            try:
                os.chown(path, self.uid, -1)
            except OSError as error:
                # The list is of all that this kernel may have: controllers are not all enabled.
                if error.errno != errno.ENOENT or not name:
                    raise kernel_error(error.errno or 0, "chown", path) from None


def _delegated_files() -> list[str]:
    try:
        return read_file("/sys/kernel/cgroup/delegate").split()
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        # config-linux.md, "Cgroup ownership": what to fall back to.
        return ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]


def refuse(field: str, why: str) -> SpecError:
    """Return the refusal of a limit that this version of cgroups does not have."""
    return SpecError(
        f"linux.resources.{field} cannot be enforced: {why}",
        where="config.json",
        hint=f"remove {field}, or run on a host that has it",
    )


def limit_of(value: int) -> str:
    """Return a limit as v2 writes it: negative is unlimited."""
    return "max" if value < 0 else str(value)


# ---- memory --------------------------------------------------------------------------------------
def memory(wanted: Memory) -> Settings:
    """Return memory.max, memory.swap.max and memory.low."""
    if wanted.swappiness is not None:
        raise refuse("memory.swappiness", "cgroup v2 has no swappiness of one cgroup")
    if wanted.disable_oom_killer:
        raise refuse("memory.disableOOMKiller", "cgroup v2 cannot turn the OOM killer off")
    if wanted.kernel_tcp is not None and wanted.kernel_tcp > 0:
        raise refuse("memory.kernelTCP", "cgroup v2 counts it as memory")
    check_memory(wanted)
    settings: list[tuple[Setting, ...]] = []
    swap = swap_of(wanted)
    if swap is not None:
        # Before memory.max: what is above a lowered limit is then swapped within the new bound.
        settings.append((Setting("memory.swap", "memory.swap.max", swap),))
    if wanted.limit:
        settings.append((Setting("memory.limit", "memory.max", limit_of(wanted.limit)),))
    if wanted.reservation:
        low = limit_of(wanted.reservation)
        settings.append((Setting("memory.reservation", "memory.low", low),))
    return tuple(settings)


def check_memory(wanted: Memory) -> None:
    """Refuse what neither version of cgroups can do. 0 is unset, as runc has it."""
    if (
        wanted.kernel is not None
        and wanted.kernel > 0
        and not 0 < (wanted.limit or 0) <= wanted.kernel
    ):
        # Deprecated in Linux 5.4, gone in 5.16: the file of v1 fails with EOPNOTSUPP. A limit of
        # all memory that is no higher holds for the kernel's part of it as well.
        raise refuse("memory.kernel", "kernel memory counts as memory")
    if wanted.use_hierarchy is False:
        raise refuse("memory.useHierarchy", "since Linux 5.11 every hierarchy is counted as one")
    limit, swap = wanted.limit or 0, wanted.swap or 0
    if swap > 0 and limit == 0:
        raise SpecError(
            "linux.resources.memory.swap: it counts memory and swap together, and limit is missing",
            where="config.json",
            hint="give memory.limit too",
        )
    if 0 < swap < limit:
        raise SpecError(
            f"linux.resources.memory.swap: {swap} is less than limit {limit}, which it includes",
            where="config.json",
            hint="give memory.swap at least the value of memory.limit, or -1",
        )
    if swap > 0 and limit < 0:
        raise SpecError(
            "linux.resources.memory.swap: it is limited while limit, which it includes, is not",
            where="config.json",
            hint="give memory.swap -1 too",
        )


def swap_of(wanted: Memory) -> str | None:
    """Return memory.swap.max: the value of v1 includes memory, the one of v2 does not."""
    if not wanted.swap:
        # On v1 unlimited memory needs unlimited swap; runc and crun keep this on v2.
        return "max" if wanted.limit == -1 else None
    return "max" if wanted.swap < 0 else str(wanted.swap - (wanted.limit or 0))


# ---- cpu -----------------------------------------------------------------------------------------
def cpu(wanted: Cpu) -> Settings:
    """Return cpu.weight, cpu.idle, cpu.max, cpu.max.burst; a lone period is a step of its own."""
    if wanted.realtime_runtime or wanted.realtime_period:
        raise refuse("cpu.realtimeRuntime", "cgroup v2 has no realtime limits")
    share: list[Setting] = []
    if wanted.shares:
        share.append(Setting("cpu.shares", "cpu.weight", str(weight_of(wanted.shares))))
    if wanted.idle is not None:
        # After the weight: an idle cgroup refuses one.
        share.append(Setting("cpu.idle", "cpu.idle", str(wanted.idle)))
    bandwidth: list[Setting] = []
    if wanted.quota:
        text = limit_of(wanted.quota) + (f" {wanted.period}" if wanted.period else "")
        bandwidth.append(Setting("cpu.quota", "cpu.max", text))
    if wanted.burst is not None:
        bandwidth.append(Setting("cpu.burst", "cpu.max.burst", str(wanted.burst)))
    return tuple([tuple(group) for group in (share, bandwidth) if group])


def lone_period(wanted: Cpu | None) -> int:
    """Return the period when it comes without a quota, else 0."""
    return (wanted.period or 0) if wanted is not None and not wanted.quota else 0


def weight_of(shares: int) -> int:
    """Return cpu.weight [1, 10000] for cpu.shares [2, 262144].

    The formula of runc 1.3.2 and crun 1.23: least, default (1024 -> 100) and greatest line up.
    """
    import math

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def cpuset(wanted: Cpu) -> Settings:
    """Return cpuset.cpus and cpuset.mems, whose names are the same in v1."""
    settings: list[tuple[Setting, ...]] = []
    if wanted.cpus:
        settings.append((Setting("cpu.cpus", "cpuset.cpus", wanted.cpus),))
    if wanted.mems:
        settings.append((Setting("cpu.mems", "cpuset.mems", wanted.mems),))
    return tuple(settings)


# ---- pids ----------------------------------------------------------------------------------------
def pids(wanted: Pids, *, zero_is_a_limit: bool) -> Settings:
    """Return pids.max, whose name is the same in v1.

    runtime-spec 1.3 made 0 a real limit; before, it stood for none: podman 4 sends 0 for
    `--pids-limit -1`. So the version that config.json is written for decides.
    """
    if wanted.limit is None:
        return ()
    unlimited = wanted.limit < 0 or (wanted.limit == 0 and not zero_is_a_limit)
    value = "max" if unlimited else str(wanted.limit)
    return ((Setting("pids.limit", "pids.max", value),),)


# ---- io ------------------------------------------------------------------------------------------
def io(wanted: BlockIo) -> Settings:
    """Return io.weight and io.max."""
    if wanted.leaf_weight or any(one.leaf_weight for one in wanted.weight_device):
        raise refuse("blockIO.leafWeight", "cgroup v2 has no leaf weight")
    settings: list[tuple[Setting, ...]] = []
    if wanted.weight:
        settings.append((_io_weight("blockIO.weight", "", wanted.weight),))
    for index, one in enumerate(wanted.weight_device):
        if one.weight:
            origin, device = f"blockIO.weightDevice[{index}]", f"{one.major}:{one.minor} "
            settings.append((_io_weight(origin, device, one.weight),))
    for field, key, throttles in throttles_of(wanted, ("rbps", "wbps", "riops", "wiops")):
        for index, limit in enumerate(throttles):
            rate = str(limit.rate) if limit.rate else "max"
            value = f"{limit.major}:{limit.minor} {key}={rate}"
            settings.append((Setting(f"blockIO.{field}[{index}]", "io.max", value),))
    return tuple(settings)


def _io_weight(origin: str, device: str, weight: int) -> Setting:
    # BFQ has the range of v1, [10, 1000] of OCI within [1, 1000].
    return Setting(
        origin,
        "io.bfq.weight",
        f"{device}{weight}",
        other=("io.weight", f"{device}{io_weight_of(weight)}"),
    )


def io_weight_of(weight: int) -> int:
    """Return io.weight [1, 10000] for a blkio weight [10, 1000]."""
    return 1 + (weight - 10) * 9999 // 990


def throttles_of(
    wanted: BlockIo, words: tuple[str, str, str, str]
) -> tuple[tuple[str, str, tuple[ThrottleDevice, ...]], ...]:
    """Return (field of blockIO, word of the cgroup version for it, limits) of the four."""
    read_bps, write_bps, read_iops, write_iops = words
    return (
        ("throttleReadBpsDevice", read_bps, wanted.throttle_read_bps_device),
        ("throttleWriteBpsDevice", write_bps, wanted.throttle_write_bps_device),
        ("throttleReadIOPSDevice", read_iops, wanted.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", write_iops, wanted.throttle_write_iops_device),
    )


# ---- hugetlb, rdma, unified ----------------------------------------------------------------------
def hugetlb(limits: tuple[HugepageLimit, ...]) -> Settings:
    """Return the limits of hugetlb on v2."""
    return hugetlb_of(limits, "max")


def hugetlb_of(limits: tuple[HugepageLimit, ...], file: str) -> Settings:
    """Return the limit of use and that of reservation: an unused reservation starves others too."""
    settings: list[tuple[Setting, ...]] = []
    for index, one in enumerate(limits):
        for name_of_file in (file, f"rsvd.{file}"):
            name = f"hugetlb.{one.page_size}.{name_of_file}"
            settings.append((Setting(f"hugepageLimits[{index}]", name, str(one.limit)),))
    return tuple(settings)


def rdma(limits: tuple[RdmaLimit, ...]) -> Settings:
    """Return rdma.max, whose name is the same in v1."""
    settings: list[tuple[Setting, ...]] = []
    for one in limits:
        words = [one.device]
        if one.hca_handles is not None:
            words.append(f"hca_handle={one.hca_handles}")
        if one.hca_objects is not None:
            words.append(f"hca_object={one.hca_objects}")
        settings.append((Setting(f"rdma.{one.device}", "rdma.max", " ".join(words)),))
    return tuple(settings)


def unified(values: dict[str, str]) -> Settings:
    """Return each file as it is given."""
    settings: list[tuple[Setting, ...]] = []
    for file, value in values.items():
        if "/" in file or "." not in file:
            raise SpecError(
                f'linux.resources.unified: "{file}" is not the name of a cgroup file',
                where="config.json",
                hint='write a name such as "memory.high"',
            )
        settings.append((Setting(f'unified["{file}"]', file, value),))
    return tuple(settings)
