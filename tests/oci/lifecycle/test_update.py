"""What the flags of `update` say; what is written is told by tests of plan and integration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci import cli
from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.flags import parse
from aisbx_runtime.oci.lifecycle import update


def document(*words):
    return update.document_of(parse([*words, "c"], cli.COMMANDS["update"].flags, interspersed=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-1", -1),
        ("0", 0),
        ("1024", 1024),
        ("64M", 64 << 20),
        ("64mb", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("7b", 7),
        ("2T", 2 << 40),
    ],
)
def test_a_size_is_what_go_units_says(text, expected):
    assert expected == update.size_of(text, "memory")


@pytest.mark.parametrize(
    "text", ["", "M", "-2", "1.M", "1.2.3", "1e3", "64X", "64MM", "0x1", "\u0661"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError):
        update.size_of(text, "memory")


@given(st.text())
def test_any_text_is_a_size_or_refused(text):
    try:
        assert update.size_of(text, "memory") >= -1
    except UsageError:
        return


def test_only_the_flags_that_are_given_are_in_the_document():
    assert {"cpu": {"quota": -1}, "pids": {"limit": 5}} == document(
        "--cpu-quota=-1", "--pids-limit", "5"
    )


@pytest.mark.parametrize(
    ("flag", "group", "key"),
    [(flag, *place) for flag, place in {**update.NUMBERS, **update.SIZES}.items()],
)
def test_each_number_has_its_place(flag, group, key):
    assert {group: {key: 100}} == document(f"--{flag}", "100")


def test_kernel_memory_is_accepted():
    assert {} == document("--kernel-memory", "64M", "--kernel-memory-tcp=1G")


@pytest.mark.parametrize("words", [("--cpu-share", "many"), ("--memory", "x"), ("--pids-limit=",)])
def test_what_is_no_number_is_refused(words):
    with pytest.raises(UsageError):
        document(*words)
