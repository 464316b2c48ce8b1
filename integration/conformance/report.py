"""The report of a conformance run: both columns, totals, and what only the control passes."""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

REFUSED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "refused.md")


KINDS = ("validation", "bats")
BATS_SHARE = 0.9  # of the bats tests that the control passes


class Result(NamedTuple):
    """How one test ended (pass, fail, skip), and what it said."""

    word: str
    output: str


def refused() -> list[tuple[str, str]]:
    """Return (pattern, reason) of each line of the table in refused.md."""
    with open(REFUSED, encoding="utf-8") as file:
        rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", file.read(), re.MULTILINE)
    return [(pattern.replace("\\|", "|"), reason) for pattern, reason in rows]


def reason_of(test: str) -> str:
    found = [reason for pattern, reason in refused() if re.search(pattern, test)]
    return found[0] if found else ""


def totals(column: dict[str, Result], kind: str) -> dict[str, int]:
    words = [result.word for test, result in column.items() if test.startswith(kind)]
    return {word: words.count(word) for word in ("pass", "fail", "skip")}


def lost_of(mine: dict[str, Result], theirs: dict[str, Result]) -> list[str]:
    """Return the tests that the control passes and that fail here, or are never reached."""
    # A program that stops early never says the points that come later.
    return [
        test
        for test, result in theirs.items()
        if result.word == "pass" and mine.get(test, Result("fail", "")).word == "fail"
    ]


def share_of(lost: list[str], theirs: dict[str, Result], kind: str) -> tuple[int, int]:
    """Return how many tests of one kind the control passes, and how many of those are not lost."""
    passed = [test for test in theirs if test.startswith(kind) and theirs[test].word == "pass"]
    return len(passed), len(passed) - sum(test in lost for test in passed)


def missed(lost: list[str], theirs: dict[str, Result]) -> list[str]:
    """Return what of the goal is missed, one sentence each."""
    found = [f"no reason in refused.md: {test}" for test in lost if not reason_of(test)]
    passed, kept = share_of(lost, theirs, "bats")
    if kept < BATS_SHARE * passed:
        found.append(f"bats: {kept} of {passed} is less than {BATS_SHARE:.0%}")
    return found


def table(columns: dict[str, dict[str, Result]], lost: list[str], control: str) -> list[str]:
    """Return both columns, kind by kind, and what is left of what the control passes."""
    lines = [f"{'':11}{'runtime':44}{'pass':>7}{'fail':>7}{'skip':>7}"]
    for kind in KINDS:
        for name, column in columns.items():
            numbers = "".join([f"{count:7}" for count in totals(column, kind).values()])
            lines.append(f"{kind:11}{name[-43:]:44}{numbers}")
    for kind in KINDS:
        passed, kept = share_of(lost, columns.get(control, {}), kind)
        if passed:
            share = f"{100 * kept / passed:.1f} %"
            lines.append(f"{kind}: of {passed} that the control passes, ours {kept} ({share})")
    return lines


def write(where: str, columns: dict[str, dict[str, Result]], ours: str, control: str) -> int:
    """Write report.txt and report.json, print the end of it; return 1 if the goal is missed.

    Tests that refused.md names, each with its reason, are listed; of bats there may be few.
    """
    mine, theirs = columns[ours], columns.get(control, {})
    lost = lost_of(mine, theirs)
    lines = [f"{'ours':6}{'control':9}test"]
    for test in sorted({*mine, *theirs}):
        words = [column[test].word if test in column else "-" for column in (mine, theirs)]
        lines.append(f"{words[0]:6}{words[1]:9}{test}")
    failed = missed(lost, theirs)
    last = ["", "the control passes and we fail:"]
    last += [f"  {test}: {reason_of(test) or 'NO REASON in refused.md'}" for test in lost]
    last += ["", *table(columns, lost, control), ""]
    last += [f"goal missed: {sentence}" for sentence in failed]
    if theirs and not failed:
        last.append("the goal is reached")
    os.makedirs(where, exist_ok=True)
    with open(f"{where}/report.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in [*lines, *last])
    with open(f"{where}/report.json", "w", encoding="utf-8") as file:
        document = {
            name: {test: result._asdict() for test, result in column.items()}
            for name, column in columns.items()
        }
        json.dump({"ours": ours, "control": control, "lost": lost, "columns": document}, file)
    print("\n".join([*last, f"conformance: {where}/report.txt"]), flush=True)
    return 1 if failed else 0
