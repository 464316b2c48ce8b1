"""Counts the MUSTs of a checkout of the runtime spec, and tells what is new since we last looked.

`python3 -B -m integration.conformance.musts CHECKOUT` compares the files of CHECKOUT (a work tree
of opencontainers/runtime-spec at the tag that is asked about) with `spec/conformance.json`;
`--record VERSION` writes what it finds there. No sentence of the spec is kept: only how many
normative words each section has, and a short hash of the sentence around each.

Also reads `spec/conformance.md`, for the test that holds both together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from typing import Any, NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COUNTS = f"{ROOT}/spec/conformance.json"
TABLES = f"{ROOT}/spec/conformance.md"
# config-linux.md and so on for other platforms bind nobody here; spec.md only defines the words.
FILES = (
    "bundle.md",
    "runtime.md",
    "runtime-linux.md",
    "config.md",
    "config-linux.md",
    "features.md",
    "features-linux.md",
    "glossary.md",
)
NORMATIVE = re.compile(r"\b(?:MUST NOT|MUST|REQUIRED|SHALL NOT|SHALL)\b")


class Must(NamedTuple):
    """One normative word: the section it stands in, its line, and a hash of its sentence."""

    section: str
    line: int
    hash: str


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    text = re.sub(r"<[^>]*>", "", heading).strip().lower()
    return re.sub(r"[^\w -]", "", text).replace(" ", "-")


def musts_of(file: str, text: str) -> list[Must]:
    """Return every normative word of a file, in order. Examples (fenced code) do not count."""
    found: list[Must] = []
    section, fenced = file, False
    block: list[tuple[int, str]] = []

    def finish() -> None:
        found.extend(_of_block(section, block))
        block.clear()

    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if line.startswith("#") and not fenced:
            finish()
            section = f"{file}#{slug(line.lstrip('#'))}"
        elif fenced or not line.strip():
            finish()
        else:
            # A list item and a row of a table begin something new; other lines go on.
            if re.match(r"\s*(?:[*|]|\d+\.)", line):
                finish()
            block.append((number, line))
    finish()
    return found


def _of_block(section: str, block: list[tuple[int, str]]) -> list[Must]:
    # Sentences may be wrapped over lines: join them, and remember where each line began. Where a
    # link leads is no part of them.
    text, begins = "", []
    for number, line in block:
        begins.append((len(text), number))
        text += re.sub(r"\]\([^)]*\)", "]", line.strip()) + " "
    found, at = [], 0
    for sentence in re.split(r"(?<=[.:]) ", text):
        words = " ".join(re.findall(r"\w+", sentence)).lower()
        for count, match in enumerate(NORMATIVE.finditer(sentence)):
            digest = hashlib.sha256(f"{count} {words}".encode()).hexdigest()[:8]
            line = max(number for begin, number in begins if begin <= at + match.start())
            found.append(Must(section, line, digest))
        at += len(sentence) + 1
    return found


def musts_in(checkout: str) -> list[Must]:
    """Return every normative word of a checkout."""
    found: list[Must] = []
    for name in FILES:
        with open(f"{checkout}/{name}", encoding="utf-8") as file:
            found += musts_of(name, file.read())
    return found


def by_section(musts: list[Must]) -> dict[str, list[str]]:
    """Return section -> the hashes of its statements, in order."""
    sections: dict[str, list[str]] = {}
    for must in musts:
        sections.setdefault(must.section, []).append(must.hash)
    return sections


def recorded() -> dict[str, dict[str, Any]]:
    """Return version -> {"commit", "musts", "sections"}, the newest version last."""
    with open(COUNTS, encoding="utf-8") as file:
        found: dict[str, dict[str, Any]] = json.load(file)
    return found


def changed(old: dict[str, list[str]], new: dict[str, list[str]]) -> dict[str, list[int]]:
    """Return section -> the ordinals of what `old` has and `new` has not, or not so."""
    found: dict[str, list[int]] = {}
    for section, hashes in old.items():
        left = list(new.get(section, []))
        for number, one in enumerate(hashes, 1):
            if one in left:
                left.remove(one)
            else:
                found.setdefault(section, []).append(number)
    return found


class Row(NamedTuple):
    """One line of the tables in conformance.md; `version` is "" for the newest one."""

    version: str
    section: str
    number: int
    binds: str
    words: str
    places: list[str]
    proof: str

    @property
    def tests(self) -> list[str]:
        """Return the pytest node ids that the row names."""
        return [name for name in re.findall(r"`([^`]+)`", self.proof) if "::" in name]

    @property
    def reason(self) -> str:
        """Return what is said beside the tests."""
        return re.sub(r"`[^`]+::[^`]+`|<br>", " ", self.proof).strip()


def rows_of(text: str) -> list[Row]:
    """Return the rows of all tables: `## file.md [in VERSION]`, `### section`, | n | ... |."""
    rows, file, version, section = [], "", "", ""
    for line in text.splitlines():
        if line.startswith("## "):
            file, _, version = line[3:].strip().partition(" in ")
        elif line.startswith("### "):
            section = f"{file}#{line[4:].strip()}"
        elif re.match(r"\| \d+ \|", line):
            cells = [one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]]
            number, binds, words, places, proof = cells
            named = re.findall(r"`([^`]+)`", places)
            rows.append(Row(version, section, int(number), binds, words, named, proof))
    return rows


def rows() -> list[Row]:
    """Return the rows of conformance.md."""
    with open(TABLES, encoding="utf-8") as file:
        return rows_of(file.read())


def _record(version: str, checkout: str, musts: list[Must]) -> None:
    commit = subprocess.run(
        ["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    found = recorded() if os.path.exists(COUNTS) else {}
    found[version] = {"commit": commit, "musts": len(musts), "sections": by_section(musts)}
    with open(COUNTS, "w", encoding="utf-8") as file:
        # One section a line: a difference between versions shows as one.
        text = json.dumps(found, indent=1)
        file.write(re.sub(r'\[\s+("[^\]]*?")\s+\]', _one_line, text) + "\n")


def _one_line(match: re.Match[str]) -> str:
    return f"[{' '.join(match[1].split())}]"


def news(musts: list[Must], known: dict[str, list[str]]) -> list[str]:
    """Return a line for each statement that is not among the known ones, and for those gone."""
    there = by_section(musts)
    lines = []
    for section, numbers in changed(there, known).items():
        file = section.partition("#")[0]
        at = [must.line for must in musts if must.section == section]
        lines += [f"new or changed: {file}:{at[n - 1]}: {section} {n}" for n in numbers]
    for section, numbers in changed(known, there).items():
        lines.append(f"gone or changed: {section} {' '.join(map(str, numbers))}")
    return lines


def main() -> int:
    """Tell what a checkout has that no row of conformance.md is about; 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("checkout")
    parser.add_argument("--record", metavar="VERSION")
    options = parser.parse_args()
    musts = musts_in(options.checkout)
    if options.record:
        _record(options.record, options.checkout, musts)
        return 0
    version, known = list(recorded().items())[-1]
    lines = news(musts, known["sections"])
    print(f"{len(musts)} normative words; {version} has {known['musts']}")
    print("\n".join(lines) or "nothing is new")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
