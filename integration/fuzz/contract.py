"""What holds for every call of the runtime, whatever was thrown at it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.runtime import Result

# A defect says the type of its exception and its line; records and objects have a repr.
DEFECT = re.compile(
    r"Traceback|\(\w+\.py:\d+\)|defect of the runtime| object at 0x|<[a-z_.]+\.[A-Z]\w+"
    r"|\b[A-Z]\w*(?:Error|Exception|Iteration|Interrupt|Died)\b:|\b[A-Z][A-Za-z]+\([a-z_]+="
)
# Only an error about the user's own command may hold what engines turn into 126 and 127.
RESERVED = re.compile(
    r"no such file or directory|permission denied|operation not permitted|not found"
)
PREFIX = "aisbx-runtime: "


def logged(path: str) -> list[dict[str, str]]:
    """Return the objects of a JSON log, and empty it."""
    try:
        with open(path, encoding="utf-8", errors="strict") as text:
            entries = [json.loads(line) for line in text]
    except FileNotFoundError:
        return []
    with open(path, "w"):
        pass
    return entries


def breaches(result: Result, entries: list[dict[str, str]], *, silent: bool = True) -> list[str]:
    """Return what is wrong with a call's own report; `silent`: stderr is the runtime's alone."""
    wrong = []
    said = [result.err, *(f"{entry}" for entry in entries)]
    wrong += [f"a defect: {text}" for text in said if DEFECT.search(text)]
    if result.code == 0:
        if silent and result.err:
            wrong.append("a success speaks on stderr")
        return wrong + (["a success is logged as a failure"] if entries else [])
    if not silent:
        return wrong
    lines = result.err.split("\n")
    if len(lines) != 2 or not lines[0].startswith(PREFIX):
        wrong.append(f"stderr is not one line: {result.err!r}")
    elif not lines[0].isprintable():
        wrong.append(f"stderr holds what steers a terminal: {result.err!r}")
    if len(entries) != 1 or not lines[0].endswith(entries[0]["msg"]):
        wrong.append(f"the log does not say what stderr says: {entries}")
    elif RESERVED.search(entries[0]["msg"].lower()) and 'exec: "' not in entries[0]["msg"]:
        wrong.append("words of a user's command in an error about something else")
    return wrong
