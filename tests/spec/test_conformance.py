"""spec/conformance.md names only what is there, and has a line for every MUST that was counted."""

from __future__ import annotations

import ast
import functools
import os

import pytest

from aisbx_runtime.oci.lifecycle.version import SPEC_VERSION
from integration.conformance import musts

ROWS = musts.rows()
VERSIONS = musts.recorded()
*OLDER, NEWEST = VERSIONS
BINDS = {"runtime", "author", "caller", "listener", "reader", "spec"}


def named(row):
    return f"{row.version}{row.section}-{row.number}"


# How a line without a test may begin to say why.
REASONS = (
    "Not Linux: ", "Who ", "Binds who ", "Heads a list", "Explains the table", "As 1.3.0 has it",
)  # fmt: skip


@functools.cache
def names_in(path):
    """Return the functions, classes and constants of a module, without importing it."""
    if not os.path.isfile(f"{musts.ROOT}/{path}"):
        return frozenset()
    with open(f"{musts.ROOT}/{path}", encoding="utf-8") as file:
        body = ast.parse(file.read()).body
    found = {one.name for one in body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    for one in body:
        if isinstance(one, ast.Assign):
            found |= {target.id for target in one.targets if isinstance(target, ast.Name)}
    return frozenset(found)


def numbers(version):
    """Return section -> the numbers of its lines, in the order of the file."""
    found = {}
    for row in ROWS:
        if row.version == version:
            found.setdefault(row.section, []).append(row.number)
    return found


def test_every_section_has_a_line_for_each_normative_word():
    sections = VERSIONS[NEWEST]["sections"]

    assert numbers("") == {name: list(range(1, len(one) + 1)) for name, one in sections.items()}
    assert list(numbers("")) == list(sections)


@pytest.mark.parametrize("version", OLDER)
def test_what_an_older_version_says_otherwise_has_a_line_too(version):
    gone = musts.changed(VERSIONS[version]["sections"], VERSIONS[NEWEST]["sections"])

    assert numbers(version) == gone


@pytest.mark.parametrize("version", VERSIONS)
def test_the_counts_belong_together(version):
    recorded = VERSIONS[version]

    assert recorded["musts"] == sum(map(len, recorded["sections"].values()))
    assert len(recorded["commit"]) == 40


def test_the_newest_version_is_the_one_that_the_runtime_speaks():
    assert SPEC_VERSION == NEWEST


def test_no_line_is_there_twice():
    names = [named(row) for row in ROWS]

    assert len(names) == len(set(names))


def test_every_line_says_whom_it_binds_to_what():
    assert [] == [named(row) for row in ROWS if row.binds not in BINDS or not row.words]


def test_every_line_has_a_test_or_a_reason():
    without = [row for row in ROWS if not row.tests]

    assert [] == [named(row) for row in without if not row.reason.startswith(REASONS)]
    assert [] == [named(row) for row in ROWS if row.tests and not row.places]


def test_every_module_and_name_is_there():
    lost = [
        f"{named(row)}: {place}"
        for row in ROWS
        for place in row.places
        if place.partition(":")[2] not in names_in(f"aisbx_runtime/oci/{place.partition(':')[0]}")
    ]

    assert lost == []


def test_every_test_is_there():
    lost = [
        f"{named(row)}: {test}"
        for row in ROWS
        for test in row.tests
        if not test.partition("::")[2].startswith("test_")
        or test.partition("::")[2] not in names_in(test.partition("::")[0])
    ]

    assert lost == []


# ---- counting ------------------------------------------------------------------------------------
TEXT = """# <a name="top" />The Top
A lamp MUST shine. A lamp SHOULD be warm, and it
MUST NOT burn anybody.

## Its `parts`
* **`wick`** (string, REQUIRED) the wick, which SHALL be
    of [cotton](wick.md#MUST).
| `oil` | MUST | the oil |
| `gas` | MAY | the gas |

```json
{"MUST": 1}
```
"""


def test_words_are_counted_by_section_and_line():
    found = musts.musts_of("lamp.md", TEXT)

    assert [("lamp.md#the-top", 2), ("lamp.md#the-top", 3)] == [one[:2] for one in found[:2]]
    assert [("lamp.md#its-parts", line) for line in (6, 6, 8)] == [one[:2] for one in found[2:]]


def test_a_sentence_is_the_same_wherever_its_lines_break():
    wrapped = TEXT.replace("and it\nMUST NOT", "and\nit MUST NOT").replace("#MUST", "#other")

    assert [one.hash for one in musts.musts_of("lamp.md", TEXT)] == [
        one.hash for one in musts.musts_of("lamp.md", wrapped)
    ]


def test_what_is_new_is_told_by_its_line():
    known = musts.by_section(musts.musts_of("lamp.md", TEXT))
    newer = musts.musts_of("lamp.md", TEXT.replace("MUST shine", "MUST glow") + "It MUST go out.\n")

    assert musts.news(musts.musts_of("lamp.md", TEXT), known) == []
    assert musts.news(newer, known) == [
        "new or changed: lamp.md:2: lamp.md#the-top 1",
        "new or changed: lamp.md:14: lamp.md#its-parts 4",
        "gone or changed: lamp.md#the-top 1",
    ]
