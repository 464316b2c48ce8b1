"""Options that are rare: limits, volumes, rights. Values in, parts of config.json out."""

from __future__ import annotations

import os

from aisbx_runtime.sandbox.defaults import CAPABILITIES
from aisbx_runtime.sandbox.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.sandbox.defaults import Json, Value

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PERIOD_US = 100000
# The kernel takes no smaller quota (kernel/sched/core.c, min_cfs_quota_period).
_LEAST_QUOTA_US = 1000


def rights(user: Value) -> Json:
    """Return process.capabilities for a user: another one than root holds none.

    The bounding set stays, for an `exec` as root: no_new_privs keeps programs from gaining it.
    """
    held: list[Value] = list(CAPABILITIES) if isinstance(user, dict) and user["uid"] == 0 else []
    bounding: list[Value] = list(CAPABILITIES)
    return {"bounding": bounding, "effective": held, "permitted": list(held)}


def limits(pids: str | None, memory: str | None, cpus: str | None) -> Json:
    """Return the parts of linux.resources that the three options ask for."""
    found: Json = {}
    if pids is not None:
        found["pids"] = {"limit": _whole("--pids", pids)}
    if memory is not None:
        size = size_of("--memory", memory)
        # Without it as much again of swap would be free to take.
        found["memory"] = {"limit": size, "swap": size}
    if cpus is not None:
        quota = int(_number("--cpus", cpus) * _PERIOD_US)
        if quota < _LEAST_QUOTA_US:
            raise InputError(f"--cpus {cpus!r} is too little", hint="give 0.01 or more")
        found["cpu"] = {"quota": quota, "period": _PERIOD_US}
    return found


def size_of(option: str, text: str) -> int:
    """Return the bytes of `512M`: powers of 1024. Raises InputError."""
    upper = text.upper().removesuffix("IB")
    if len(upper) > 1:
        upper = upper.removesuffix("B")
    digits = upper.rstrip("KMGT")
    unit = upper[len(digits) :]
    if unit not in _UNITS or not digits.isascii() or not digits.isdigit() or int(digits) == 0:
        raise InputError(f"{option} {text!r} is no size", hint="write a number and K, M or G")
    return int(digits) * _UNITS[unit]


def _whole(option: str, text: str) -> int:
    if text == "-1":
        return -1
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise InputError(f"{option} {text!r} is no number", hint="write 1 or more, or -1")
    return int(text)


def _number(option: str, text: str) -> float:
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not digits.isascii() or not digits.isdigit():
        raise InputError(f"{option} {text!r} is no number", hint="write one such as 1.5")
    return float(text)


def volumes(given: tuple[str, ...]) -> list[Value]:
    """Return the mounts that `--volume DIR:PATH[:ro]` asks for."""
    return [_volume(one) for one in given]


def _volume(text: str) -> Json:
    host_path, colon, rest = text.partition(":")
    target, _, option = rest.partition(":")
    if not colon or not target.startswith("/") or option not in {"", "ro", "rw"}:
        raise InputError(
            f"--volume {text!r} is not understood", hint="write DIR:PATH or DIR:PATH:ro"
        )
    host_path = os.path.abspath(host_path)
    if not os.path.exists(host_path):
        raise InputError(f"--volume: there is no {host_path}", hint="make it first")
    return {
        "destination": target,
        "type": "bind",
        "source": host_path,
        # For what is mounted below the directory as well.
        "options": ["rbind", "rnosuid", "rnodev", "rro" if option == "ro" else "rw"],
    }
