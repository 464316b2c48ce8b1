"""Signal names and numbers as engines write them. Sending signals lives in `lifecycle`."""

from __future__ import annotations

from aisbx_runtime.oci.errors import UsageError

# signal(7), x86-64 and arm64; podman and containerd send numbers, buildah and people names.
NUMBERS = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "ILL": 4,
    "TRAP": 5,
    "ABRT": 6,
    "IOT": 6,
    "BUS": 7,
    "FPE": 8,
    "KILL": 9,
    "USR1": 10,
    "SEGV": 11,
    "USR2": 12,
    "PIPE": 13,
    "ALRM": 14,
    "TERM": 15,
    "STKFLT": 16,
    "CHLD": 17,
    "CLD": 17,
    "CONT": 18,
    "STOP": 19,
    "TSTP": 20,
    "TTIN": 21,
    "TTOU": 22,
    "URG": 23,
    "XCPU": 24,
    "XFSZ": 25,
    "VTALRM": 26,
    "PROF": 27,
    "WINCH": 28,
    "IO": 29,
    "POLL": 29,
    "PWR": 30,
    "SYS": 31,
    # signal(7): glibc keeps 32 and 33 for its threads, so its SIGRTMIN, and runc's, is 34.
    "RTMIN": 34,
    "RTMAX": 64,
}
_LAST = 64


def number_of(text: str) -> int:
    """Return the signal that `15`, `TERM`, `SIGTERM`, `term`, `RTMIN+3` or `SIGRTMAX-1` names.

    0 sends nothing: kill(2) then tells only whether the process is there. Raises UsageError.
    """
    # upper() would make ASCII letters out of some others.
    name = text.upper().removeprefix("SIG") if text.isascii() else ""
    number = _decimal(text) if text[:1].isdigit() else _named(name)
    if not 0 <= number <= _LAST:
        raise UsageError(f'unknown signal "{ascii(text)[1:-1]}"', hint="write a name such as TERM")
    return number


def _named(name: str) -> int:
    if name.startswith("RTMIN+"):
        number = NUMBERS["RTMIN"] + _offset(name.removeprefix("RTMIN+"))
    elif name.startswith("RTMAX-"):
        number = NUMBERS["RTMAX"] - _offset(name.removeprefix("RTMAX-"))
    else:
        return NUMBERS.get(name, -1)
    return number if NUMBERS["RTMIN"] <= number <= NUMBERS["RTMAX"] else -1


def _offset(text: str) -> int:
    number = _decimal(text)
    return number if number >= 0 else _LAST + 1  # makes the sum a number that no signal has


def _decimal(text: str) -> int:
    """Return a short decimal number, or -1: int() alone would take " 9", "1_5" and other digits."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_LAST))
    return int(text) if is_number else -1
