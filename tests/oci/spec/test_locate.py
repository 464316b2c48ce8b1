"""Lines of values, and what is said of a text that is no JSON."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.spec.locate import line_of, syntax_error

TEXT = """
{ "a": [1,
    {"b": "x\\"{["},
    [], {}
  ],
  "c" : { "d":
      null },
  "a": [
    0, 7
  ],
  "\\u0065": {}
}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("c",), 6),
        (("c", "d"), 7),
        (("c", "missing"), 6),
        (("missing",), 2),
        (("missing", "d"), 2),
        (("a",), 8),  # the last of two counts
        (("a", 1), 9),
        (("a", 2), 8),
        (("a", 1, "x"), 9),
        (("e",), 11),
        (("c", 0), 6),
        (("a", "0"), 8),
    ],
)
def test_the_line_of_a_path_or_of_what_is_nearest_above(path, line):
    assert line == line_of(TEXT, path)


def test_no_text_has_no_line():
    assert line_of("", ("a",)) == 0


def test_a_text_at_the_edge_of_the_stack_still_has_a_line():
    # The reader managed it with less on the stack than we have.
    text = "\n" + "[" * 100_000 + "]" * 100_000

    assert line_of(text, (0, 0)) == 2


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ('{\n  "a": }', "c:2:8", "invalid JSON: Expecting value"),
        ("", "c:1:1", "invalid JSON: Expecting value"),
        ("{} {}", "c:1:4", "invalid JSON: Extra data"),
        ("1" * 5000, "c", "invalid JSON: said by the reader"),
        ("[" * 100_000, "c", "invalid JSON: said by the reader"),
        ("NaN", "c", "invalid JSON: said by the reader"),
    ],
)
def test_a_syntax_error_has_line_and_column_where_there_are_some(text, where, what):
    error = syntax_error(text, "c", "said by the reader")

    assert (what, where) == (error.what, error.where)
