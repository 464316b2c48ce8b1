"""What a container has used: its cgroup files -> the figures of `events`, as go-runc reads them.

The names, and what is left out when it is 0, are runc's. The versions of cgroups differ in the
names of their files, so that those that are there tell which version it is; on a hybrid host some
figures come from one and some from the other. Limits live in `plan`.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.host import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_UNLIMITED = (1 << 64) - 1
_NANOSECONDS_OF_TICK = 10_000_000  # times(2): USER_HZ is 100 on all that Linux runs on
# Not there (any more), or not to be read at this moment.
_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES})
_CPUSET_FLAGS = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
    "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip
_BLKIO_V1 = (
    ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
    ("ioServicedRecursive", "io_serviced_recursive"),
    ("ioQueueRecursive", "io_queued_recursive"),
    ("ioServiceTimeRecursive", "io_service_time_recursive"),
    ("ioWaitTimeRecursive", "io_wait_time_recursive"),
    ("ioMergedRecursive", "io_merged_recursive"),
    ("ioTimeRecursive", "time_recursive"),
    ("sectorsRecursive", "sectors_recursive"),
)
# The scheduler's own, then what is counted where a device has none.
_BLKIO_PREFIXES = ("blkio.bfq.", "blkio.throttle.", "blkio.")
_IO_V2 = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


class _Files:
    """The files of a container's cgroup, in whichever of its directories they are."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.paths = paths

    def text(self, name: str) -> str:
        """Return the text of a file, empty when there is none."""
        return next(self._texts(name), "").strip()

    def _texts(self, name: str) -> Iterator[str]:
        for path in self.paths:
            try:
                yield read_text(f"{path}/{name}")
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise

    def number(self, name: str) -> int:
        """Return the only number of a file, 0 when there is none."""
        return _number_of(self.text(name))

    def table(self, name: str) -> dict[str, int]:
        """Return the lines NAME NUMBER of a file; `cpu.stat` is there in both versions."""
        found: dict[str, int] = {}
        for text in self._texts(name):
            for line in text.splitlines():
                key, _, value = line.partition(" ")
                found.setdefault(key, _number_of(value))
        return found

    def names(self, prefix: str, suffix: str) -> list[str]:
        """Return the names of the files that begin and end so."""
        found: set[str] = set()
        for path in self.paths:
            try:
                found.update(os.listdir(path))
            except FileNotFoundError:
                continue
        return sorted([n for n in found if n.startswith(prefix) and n.endswith(suffix)])


def statistics_of(paths: tuple[str, ...]) -> dict[str, object]:
    """Return the figures of the cgroup that `paths` are; what is not counted there is absent."""
    files = _Files(paths)
    return {
        "cpu": _with_pressure(_cpu(files), files, "cpu.pressure"),
        "cpuset": _cpuset(files),
        "memory": _with_pressure(_memory(files), files, "memory.pressure"),
        "pids": _present(current=files.number("pids.current"), limit=_limit(files, "pids.max", 0)),
        "blkio": _with_pressure(_blkio(files), files, "io.pressure"),
        "hugetlb": _hugetlb(files),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _number_of(text: str) -> int:
    digits = text.strip().removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() else 0


def _present(**figures: object) -> dict[str, object]:
    return {name: value for name, value in figures.items() if value}


def _limit(files: _Files, name: str, unlimited: int) -> int:
    return unlimited if files.text(name) == "max" else files.number(name)


# ---- cpu -----------------------------------------------------------------------------------------
def _cpu(files: _Files) -> dict[str, object]:
    stat = files.table("cpu.stat")
    throttled_ns = stat.get("throttled_time", stat.get("throttled_usec", 0) * 1000)
    return {
        "usage": _cpu_usage(files, stat),
        "throttling": _present(
            periods=stat.get("nr_periods", 0),
            throttledPeriods=stat.get("nr_throttled", 0),
            throttledTime=throttled_ns,
        ),
    }


def _cpu_usage(files: _Files, stat: dict[str, int]) -> dict[str, object]:
    """Return times in nanoseconds."""
    if not files.text("cpuacct.usage"):
        return {
            **_present(total=stat.get("usage_usec", 0) * 1000),
            "kernel": stat.get("system_usec", 0) * 1000,
            "user": stat.get("user_usec", 0) * 1000,
        }
    ticks = files.table("cpuacct.stat")
    # A head line, then `CPU USER SYSTEM`.
    rows = [line.split() for line in files.text("cpuacct.usage_all").splitlines()[1:]]
    return {
        **_present(
            total=files.number("cpuacct.usage"),
            percpu=[int(one) for one in files.text("cpuacct.usage_percpu").split()],
            percpu_kernel=[int(row[2]) for row in rows if len(row) > 2],
            percpu_user=[int(row[1]) for row in rows if len(row) > 2],
        ),
        "kernel": ticks.get("system", 0) * _NANOSECONDS_OF_TICK,
        "user": ticks.get("user", 0) * _NANOSECONDS_OF_TICK,
    }


def _cpuset(files: _Files) -> dict[str, object]:
    found: dict[str, object] = _present(
        cpus=_numbers_of(files.text("cpuset.cpus") or files.text("cpuset.cpus.effective")),
        mems=_numbers_of(files.text("cpuset.mems") or files.text("cpuset.mems.effective")),
    )
    for name in _CPUSET_FLAGS:
        found[name] = files.number(f"cpuset.{name}")
    return found


def _numbers_of(text: str) -> list[int]:
    """Return the numbers of a list such as 0-2,5 (cpuset(7))."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first:
            found.extend(range(int(first), int(last or first) + 1))
    return found


# ---- memory --------------------------------------------------------------------------------------
def _memory(files: _Files) -> dict[str, object]:
    stat = files.table("memory.stat")
    if files.text("memory.usage_in_bytes"):
        return {
            **_present(cache=stat.get("cache", 0)),
            "usage": _memory_v1(files, "memory"),
            "swap": _memory_v1(files, "memory.memsw"),
            "kernel": _memory_v1(files, "memory.kmem"),
            "kernelTCP": _memory_v1(files, "memory.kmem.tcp"),
            **_present(raw=stat),
        }
    used, limit = files.number("memory.current"), _limit(files, "memory.max", _UNLIMITED)
    # As in v1, and as runc has it: memory and swap together.
    swap_limit = min(_limit(files, "memory.swap.max", _UNLIMITED) + limit, _UNLIMITED)
    swap_used = files.number("memory.swap.current") + used
    return {
        **_present(cache=stat.get("file", 0)),
        "usage": {
            "limit": limit,
            **_present(usage=used, max=files.number("memory.peak")),
            "failcnt": files.table("memory.events").get("max", 0),
        },
        "swap": {"limit": swap_limit, **_present(usage=swap_used), "failcnt": 0},
        "kernel": {"limit": 0, **_present(usage=stat.get("kernel", 0)), "failcnt": 0},
        "kernelTCP": {"limit": 0, **_present(usage=stat.get("sock", 0)), "failcnt": 0},
        **_present(raw=stat),
    }


def _memory_v1(files: _Files, prefix: str) -> dict[str, object]:
    return {
        "limit": files.number(f"{prefix}.limit_in_bytes"),
        **_present(
            usage=files.number(f"{prefix}.usage_in_bytes"),
            max=files.number(f"{prefix}.max_usage_in_bytes"),
        ),
        "failcnt": files.number(f"{prefix}.failcnt"),
    }


def _hugetlb(files: _Files) -> dict[str, object]:
    found: dict[str, object] = {}
    for usage, peak, failures in (
        ("usage_in_bytes", "max_usage_in_bytes", "failcnt"),
        ("current", "", "events"),
    ):
        for name in files.names("hugetlb.", f".{usage}"):
            size = name.removeprefix("hugetlb.").removesuffix(f".{usage}")
            if "." in size:
                # The reservations, of which another file tells.
                continue
            failed = (
                files.table(f"hugetlb.{size}.{failures}").get("max", 0)
                if failures == "events"
                else files.number(f"hugetlb.{size}.{failures}")
            )
            most = files.number(f"hugetlb.{size}.{peak}") if peak else 0
            found[size] = {**_present(usage=files.number(name), max=most), "failcnt": failed}
    return found


# ---- io ------------------------------------------------------------------------------------------
def _blkio(files: _Files) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, name in _BLKIO_V1:
        for prefix in _BLKIO_PREFIXES:
            entries = _entries_v1(files.text(prefix + name))
            if entries:
                found[key] = entries
                break
    return found or _entries_v2(files.text("io.stat"))


def _entries_v1(text: str) -> list[dict[str, object]]:
    """Return the lines `8:0 Read 4096` or `8:0 4096`; the sum in the last line is left out."""
    found: list[dict[str, object]] = []
    for line in text.splitlines():
        words = line.split()
        major, colon, minor = words[0].partition(":")
        if colon and len(words) in {2, 3}:
            operation = words[1] if len(words) == 3 else ""
            found.append(_entry(major, minor, operation, words[-1]))
    return found


def _entries_v2(text: str) -> dict[str, object]:
    found: dict[str, list[dict[str, object]]] = {}
    for line in text.splitlines():
        device, *figures = line.split()
        major, _, minor = device.partition(":")
        for figure in figures:
            name, _, value = figure.partition("=")
            if name in _IO_V2:
                key, operation = _IO_V2[name]
                found.setdefault(key, []).append(_entry(major, minor, operation, value))
    return dict(found)


def _entry(major: str, minor: str, operation: str, value: str) -> dict[str, object]:
    return _present(
        major=_number_of(major), minor=_number_of(minor), op=operation, value=_number_of(value)
    )


# ---- pressure ------------------------------------------------------------------------------------
def _with_pressure(figures: dict[str, object], files: _Files, name: str) -> dict[str, object]:
    """Add how long processes had to wait: cgroup v2 tells, its controllers on or not (PSI)."""
    pressure: dict[str, object] = {}
    for line in files.text(name).splitlines():
        kind, *fields = line.split()
        values: dict[str, object] = {}
        for field in fields:
            key, _, text = field.partition("=")
            values[key] = int(text) if key == "total" else float(text)
        pressure[kind] = values
    return {**figures, "psi": pressure} if pressure else figures
