"""Lists of CPU or memory node numbers such as `0-3,7`. Who runs where lives in `plan`."""

from __future__ import annotations

# The kernel's largest CONFIG_NR_CPUS: nobody can ask for more, or make us build a larger set.
_MOST = 8192


def numbers_of(text: str) -> frozenset[int] | None:
    """Return the numbers that `text` lists, or None when it is not such a list.

    As in cpuset(7), blanks around an entry and an empty list are allowed.
    """
    numbers: set[int] = set()
    for entry in text.split(",") if text.strip(" ") else ():
        first, dash, last = (part.strip(" ") for part in entry.partition("-"))
        low = _number(first)
        high = _number(last) if dash else low
        if not 0 <= low <= high:
            return None
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST))):
        return -1
    number = int(text)
    return number if number < _MOST else -1
