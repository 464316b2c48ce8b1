"""The report of a conformance run: both columns, totals, and what only the control passes."""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

REFUSED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "refused.md")


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


def write(where: str, columns: dict[str, dict[str, Result]], ours: str, control: str) -> int:
    """Write report.txt and report.json; return 1 if a test that the control passes fails here.

    Tests that refused.md names, each with its reason, are listed but do not count.
    """
    mine, theirs = columns[ours], columns.get(control, {})
    lost = [
        test
        for test, result in theirs.items()
        # A program that stops early never says the points that come later.
        if result.word == "pass" and mine.get(test, Result("fail", "")).word == "fail"
    ]
    lines = [f"{'ours':6}{'control':9}test"]
    for test in sorted({*mine, *theirs}):
        words = [column[test].word if test in column else "-" for column in (mine, theirs)]
        lines.append(f"{words[0]:6}{words[1]:9}{test}")
    lines.append("")
    for kind in ("validation", "bats"):
        for name, column in columns.items():
            said = ", ".join(f"{count} {word}" for word, count in totals(column, kind).items())
            lines.append(f"{kind}: {name}: {said}")
        passed = [test for test in theirs if test.startswith(kind) and theirs[test].word == "pass"]
        if passed:
            kept = len(passed) - sum(test in lost for test in passed)
            share = f"{100 * kept / len(passed):.1f}"
            lines.append(f"{kind}: of {len(passed)} that the control passes, {kept} ({share} %)")
    lines += ["", "the control passes and we fail:"]
    open_ones = [test for test in lost if not reason_of(test)]
    lines += [f"  {test}: {reason_of(test) or 'NO REASON in refused.md'}" for test in lost]
    os.makedirs(where, exist_ok=True)
    text = "\n".join(lines) + "\n"
    with open(f"{where}/report.txt", "w", encoding="utf-8") as file:
        file.write(text)
    with open(f"{where}/report.json", "w", encoding="utf-8") as file:
        document = {
            name: {test: result._asdict() for test, result in column.items()}
            for name, column in columns.items()
        }
        json.dump({"ours": ours, "control": control, "lost": lost, "columns": document}, file)
    print(text[text.index("\n\n") :] + f"conformance: {where}/report.txt", flush=True)
    return 1 if open_ones else 0
