"""Limits as properties of a systemd unit, and properties that annotations ask for. Pure.

See systemd.resource-control(5) and org.freedesktop.systemd1(5). What is no property there is
written to the files of the cgroup alone (`scope`).
"""

from __future__ import annotations

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan import cgroup_v2
from aisbx_runtime.oci.spec.cpu_list import numbers_of
from aisbx_runtime.oci.systemd.text import value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Cpu, Resources
    from aisbx_runtime.oci.systemd.scope import Property
    from aisbx_runtime.oci.systemd.wire import Value

PREFIX = "org.systemd.property."
# CGROUP_LIMIT_MAX and USEC_INFINITY of systemd.
INFINITY = (1 << 64) - 1
_USEC = 1_000_000
_DEFAULT_PERIOD_USEC = 100_000
# systemd keeps a quota as a whole percentage of one processor.
_PERCENT_USEC = 10_000
_SIZES = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "memory.zswap.max": "MemoryZSwapMax",
    "pids.max": "TasksMax",
}
_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
# What makes the unit the container's, which an annotation may not change.
_OURS = frozenset({"PIDs", "PIDFDs", "Slice", "Delegate"})
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


# ---- limits --------------------------------------------------------------------------------------
def of_resources(wanted: Resources | None, *, zero_is_a_limit: bool) -> tuple[Property, ...]:
    """Return the properties that say the same as the limits, as far as there are such."""
    if wanted is None:
        return ()
    found: dict[str, tuple[str, Value]] = {}
    memory = wanted.memory
    if memory is not None:
        if memory.limit:
            found["MemoryMax"] = ("t", _limit(memory.limit))
        if memory.reservation:
            found["MemoryLow"] = ("t", _limit(memory.reservation))
        swap = cgroup_v2.swap_of(memory)
        if swap is not None:
            found["MemorySwapMax"] = ("t", INFINITY if swap == "max" else int(swap))
    if wanted.cpu is not None:
        found |= _of_cpu(wanted.cpu)
    if wanted.pids is not None and wanted.pids.limit is not None:
        limit = wanted.pids.limit
        unlimited = limit < 0 or (limit == 0 and not zero_is_a_limit)
        # systemd refuses 0, which only the file of the cgroup knows.
        found["TasksMax"] = ("t", INFINITY if unlimited else max(limit, 1))
    if wanted.block_io is not None and wanted.block_io.weight:
        found["IOWeight"] = ("t", cgroup_v2.io_weight_of(wanted.block_io.weight))
    found |= _of_unified(wanted.unified)
    return tuple([(name, *value) for name, value in found.items()])


def _limit(value: int) -> int:
    return INFINITY if value < 0 else value


def _of_cpu(wanted: Cpu) -> dict[str, tuple[str, Value]]:
    found: dict[str, tuple[str, Value]] = {}
    if wanted.shares:
        found["CPUWeight"] = ("t", cgroup_v2.weight_of(wanted.shares))
    if wanted.idle:
        found["CPUWeight"] = ("t", 0)
    found |= _quota(wanted.quota or 0, wanted.period or 0)
    return found | _sets({"AllowedCPUs": wanted.cpus, "AllowedMemoryNodes": wanted.mems})


def _quota(quota_usec: int, period_usec: int) -> dict[str, tuple[str, Value]]:
    """Return the quota as microseconds of each second, rounded up to a whole percentage.

    As runc: with less, children of the cgroup could not have what was asked for.
    """
    found: dict[str, tuple[str, Value]] = {}
    if period_usec:
        found["CPUQuotaPeriodUSec"] = ("t", period_usec)
    if quota_usec or period_usec:
        per_second = INFINITY
        if quota_usec > 0:
            per_second = quota_usec * _USEC // (period_usec or _DEFAULT_PERIOD_USEC)
            per_second += -per_second % _PERCENT_USEC
        found["CPUQuotaPerSecUSec"] = ("t", per_second)
    return found


def _sets(lists: dict[str, str]) -> dict[str, tuple[str, Value]]:
    found: dict[str, tuple[str, Value]] = {}
    for name, text in lists.items():
        bits = 0
        for number in numbers_of(text) or ():
            bits |= 1 << number
        if bits:
            found[name] = ("ay", bits.to_bytes((bits.bit_length() + 7) // 8, "little"))
    return found


def _of_unified(values: dict[str, str]) -> dict[str, tuple[str, Value]]:
    """Return what is a property as well: systemd would write its own value over the file's.

    A value that is none is left to the kernel to refuse, which names the file.
    """
    found: dict[str, tuple[str, Value]] = {}
    for file, text in values.items():
        words = text.split()
        number = _size(words[0]) if words else None
        if file in _SIZES and number is not None:
            found[_SIZES[file]] = ("t", number)
        elif file == "cpu.weight" and number is not None:
            found["CPUWeight"] = ("t", number)
        elif file == "cpu.idle" and number == 1:
            found["CPUWeight"] = ("t", 0)
        elif file == "cpu.max" and number is not None:
            period = _size(words[1]) if len(words) > 1 else None
            quota = -1 if number == INFINITY else number
            found |= _quota(quota, period or _DEFAULT_PERIOD_USEC)
        elif file == "cpuset.cpus":
            found |= _sets({"AllowedCPUs": text.strip()})
        elif file == "cpuset.mems":
            found |= _sets({"AllowedMemoryNodes": text.strip()})
    return found


def _size(text: str) -> int | None:
    # memparse() of the kernel.
    if text == "max":
        return INFINITY
    power = _UNITS.get(text[-1:].upper(), 0)
    digits = text[:-1] if power else text
    plain = digits.isascii() and digits.isdigit() and len(digits) < 20
    number = int(digits) << power if plain else INFINITY + 1
    return number if number <= INFINITY else None


# ---- annotations ---------------------------------------------------------------------------------
def of_annotations(annotations: dict[str, str]) -> tuple[Property, ...]:
    """Return what `org.systemd.property.NAME` annotations ask for. Raises SpecError.

    `TimeoutStopSec` and its like are said in microseconds over D-Bus: seconds are converted.
    """
    found: list[Property] = []
    for key, text in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if len(name) < 3 or not _NAME.issuperset(name):
            raise _refused(key, f"{name!r} is not the name of a property", "see systemd.scope(5)")
        if name in _OURS:
            raise _refused(key, f"{name} is the runtime's to set", "remove the annotation")
        try:
            signature, value = value_of(text)
        except ValueError as error:
            hint = "write a value such as 'text', 15, true, uint64 10 or ['a', 'b']"
            raise _refused(key, f"{text!r} is no value: {error}", hint) from None
        stem = name.removesuffix("Sec")
        if stem != name and "a" <= stem[-1:] <= "z":
            name, value = f"{stem}USec", _microseconds(key, value)
            signature = "t"
        found.append((name, signature, value))
    return tuple(found)


def _microseconds(key: str, value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(key, "seconds are a number", "write a number of seconds, or use USec")
    # Without rounding where there are no fractions; nan and inf are no number of seconds.
    seconds = value if 0 <= value <= INFINITY // _USEC else -1
    if seconds < 0:
        raise _refused(key, f"{value} seconds are out of range", "write a number from 0 on")
    return int(seconds * _USEC)


def _refused(key: str, what: str, hint: str) -> SpecError:
    return SpecError(f'annotations["{key}"]: {what}', where="config.json", hint=hint)
