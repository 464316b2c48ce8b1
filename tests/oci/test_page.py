"""Pages for people."""

from __future__ import annotations

import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci import page


@given(st.lists(st.text("ab", min_size=1, max_size=30)).map(" ".join), st.integers(1, 40))
def test_wrapping_loses_no_word_and_is_too_wide_only_for_one_word(words, width):
    lines = page.wrapped(words, width)

    assert words.split() == " ".join(lines).split()
    assert all(len(line) <= width or " " not in line for line in lines)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"),
        (512 << 20, "512 MiB"), (1 << 50, "1024 TiB"),
    ],
)  # fmt: skip
def test_bytes_have_the_unit_that_fits(number, expected):
    assert expected == page.amount(number)


def test_nouns_have_a_plural():
    assert ["1 call", "0 calls", "2 capabilities"] == [
        page.counted(1, "call"), page.counted(0, "call"), page.counted(2, "capability"),
    ]  # fmt: skip


def test_lists_are_cut_with_the_number_of_the_rest():
    assert ["a, b", "a and 1 more"] == [page.listed(["a", "b"]), page.listed(["a", "b"], 1)]


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    import posix

    master, slave = pty.openpty()
    read, write = os.pipe()
    try:
        monkeypatch.setitem(posix.environ, b"TERM", b"xterm")
        monkeypatch.delitem(posix.environ, b"NO_COLOR", raising=False)
        assert [True, False] == [page.is_coloured(slave), page.is_coloured(write)]
        monkeypatch.setitem(posix.environ, b"NO_COLOR", b"1")
        assert not page.is_coloured(slave)
        monkeypatch.delitem(posix.environ, b"NO_COLOR")
        monkeypatch.setitem(posix.environ, b"TERM", b"dumb")
        assert not page.is_coloured(slave)
    finally:
        for fd in (master, slave, read, write):
            os.close(fd)
