"""JSON through the C accelerator says what `json` says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisbx_runtime.oci import jsontext
from tests.strategies import json_values


@given(json_values)
def test_what_is_written_reads_back(value):
    assert value == jsontext.parse(jsontext.dump(value))


@given(json_values)
def test_texts_are_those_of_json_without_spaces(value):
    assert json.dumps(value, separators=(",", ":")) == jsontext.dump(value)


@given(json_values, st.sampled_from(["", " ", "\n\t\r "]))
def test_white_space_around_a_value_means_nothing(value, space):
    assert value == jsontext.parse(f"{space}{json.dumps(value, indent=2)}{space}")


@given(st.text() | st.text(st.sampled_from('{}[]":,0123456789.eE+-\\u truefalsnNIi\n')))
@example("")
@example("{")
@example('"\t"')
@example("\ufeff{}")
@example("\u00a0{}")
@example("NaN")
@example("[-Infinity]")
def test_any_text_is_a_value_or_a_valueerror_as_with_json(text):
    def refuse(_):
        raise ValueError

    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            jsontext.parse(text)
    else:
        assert expected == jsontext.parse(text)


def test_what_follows_a_value_is_refused_with_its_place():
    with pytest.raises(ValueError, match="something follows at character 2"):
        jsontext.parse("{} {}")


def test_a_missing_value_is_refused_with_its_place():
    with pytest.raises(ValueError, match="no JSON value at character 3"):
        jsontext.parse("   ")


def test_deep_nesting_is_an_error_and_no_crash():
    with pytest.raises((RecursionError, ValueError)):
        jsontext.parse("[" * 100_000)


@pytest.mark.parametrize("value", [b"x", {1, 2}, object()])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(TypeError, match="has no JSON form"):
        jsontext.dump(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_no_json_are_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        jsontext.dump([value])


BROKEN = ['{"a"', '"\\x"', "[1,]", '{"a": "\t"}', "{'a': 1}", "", "tru", "01x"]


@pytest.mark.parametrize("text", BROKEN)
def test_broken_text_is_a_valueerror_where_json_was_never_imported(text):
    # CPython 3.11's scanner looks up its error type in a module that is not there.
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from aisbx_runtime.oci import jsontext\n"
        "assert 'json' not in sys.modules\n"
        "try: jsontext.parse(sys.argv[1])\n"
        "except ValueError: sys.exit(0)\n"
        "sys.exit(1)"
    )
    argv = [os.path.realpath(sys.executable), "-IS", "-c", code, text]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
