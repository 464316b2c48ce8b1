"""Command lines as Go's flag packages read them: engines send every form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.flags import BOOL, LIST, NUMBER, TEXT, Flag, parse

TABLE = (
    Flag(("root",), TEXT, ""),
    Flag(("bundle", "b"), TEXT, ""),
    Flag(("force", "f"), BOOL, ""),
    Flag(("no-subreaper",), BOOL, ""),
    Flag(("preserve-fds",), NUMBER, ""),
    Flag(("env", "e"), LIST, ""),
)


def read(*words, interspersed=True):
    return parse(list(words), TABLE, interspersed=interspersed)


@pytest.mark.parametrize(
    "words",
    [("--root", "/x"), ("--root=/x",), ("-root", "/x"), ("-root=/x",)],
)
def test_one_dash_or_two_an_equals_sign_or_none(words):
    assert "/x" == read(*words).text("root")


@pytest.mark.parametrize("word", ["-b=x", "--b=x", "--bundle=x", "-bundle=x"])
def test_a_short_name_is_another_name(word):
    assert "x" == read(word).text("bundle")


@pytest.mark.parametrize("word", ["--force", "-f", "-force=true", "--force=1", "-f=T", "-f=TRUE"])
def test_a_bool_is_true_by_being_there_or_by_value(word):
    assert read(word).flag("force")


@pytest.mark.parametrize("word", ["--force=false", "-f=0", "-f=F", "--force=False", "-f=f"])
def test_a_bool_can_be_given_as_false(word):
    assert read("--force", word).flag("force") is False


def test_a_bool_takes_no_word_after_it():
    values = read("-no-subreaper", "id")

    assert (True, ["id"]) == (values.flag("no-subreaper"), values.words)


def test_the_last_of_a_repeated_flag_wins():
    assert "2" == read("--root=1", "--root=2").text("root")


def test_a_list_keeps_them_all_under_either_name():
    assert ["A=1", "B=2=3", ""] == read("-e", "A=1", "--env=B=2=3", "--env", "").list("env")


def test_a_value_may_look_like_a_flag():
    assert "--force" == read("--root", "--force").text("root")


def test_an_empty_value_is_a_value():
    values = read("--root=", "--bundle", "")

    assert ("", "", "") == (values.optional("root"), values.optional("bundle"), values.text("b"))


def test_what_was_not_given_is_false_empty_0():
    values = read()

    assert (False, "", None, 0, [], []) == (
        values.flag("force"),
        values.text("root"),
        values.optional("root"),
        values.number("preserve-fds"),
        values.list("env"),
        values.words,
    )


@pytest.mark.parametrize("number", [0, 3, 999999999])
def test_a_number_is_read(number):
    assert number == read(f"--preserve-fds={number}").number("preserve-fds")


@pytest.mark.parametrize("text", ["", "-1", "x", "1.0", " 1", "1_0", "\u0663", "9999999999", "+1"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(UsageError, match="--preserve-fds"):
        read(f"--preserve-fds={text}")


@pytest.mark.parametrize("word", ["-f=yes", "-f=", "--force=TrUe"])
def test_what_is_no_truth_value_is_refused(word):
    with pytest.raises(UsageError, match="true or false"):
        read(word)


@pytest.mark.parametrize("word", ["--nosuch", "-x", "--nosuch=1", "--FORCE", "-ff", "-=x", "--=x"])
def test_an_unknown_flag_is_refused_without_its_value(word):
    with pytest.raises(UsageError) as caught:
        read(word)

    assert f"unknown flag {word.partition('=')[0]}" == caught.value.what


def test_a_flag_without_its_value_is_refused_in_the_words_that_podman_reads():
    with pytest.raises(UsageError) as caught:
        read("--root")

    assert "flag needs an argument: --root" == caught.value.what


def test_flags_may_come_after_words():
    values = read("id", "--force", "TERM")

    assert (True, ["id", "TERM"]) == (values.flag("force"), values.words)


def test_where_words_are_a_command_its_flags_are_its_own():
    values = read("--force", "id", "ls", "-l", "--", "-x", interspersed=False)

    assert (True, ["id", "ls", "-l", "--", "-x"]) == (values.flag("force"), values.words)


@pytest.mark.parametrize("interspersed", [True, False])
def test_after_two_dashes_there_are_no_flags(interspersed):
    values = read("--", "--force", "-x", interspersed=interspersed)

    assert (False, ["--force", "-x"]) == (values.flag("force"), values.words)


def test_a_dash_alone_and_nothing_are_words():
    assert ["-", ""] == read("-", "").words


words = st.sampled_from(
    ["--root", "--root=x", "-b", "-f", "-f=0", "--preserve-fds", "7", "-e", "--", "-", "", "id"]
) | st.text(max_size=6)


@given(st.lists(words), st.booleans())
def test_any_command_line_gives_values_or_one_usage_error(line, interspersed):
    try:
        values = parse(line, TABLE, interspersed=interspersed)
    except UsageError as error:
        assert error.what  # noqa: PT017
        return

    assert set(values.given) <= {flag.names[0] for flag in TABLE}
    assert len(values.words) <= len(line)


@given(st.lists(words.filter(lambda word: not word.startswith("-"))))
def test_words_come_out_as_they_went_in(line):
    assert line == parse(line, TABLE, interspersed=True).words


@given(st.text(), st.text(), st.lists(st.text()))
def test_any_text_can_be_the_value_of_a_flag(root, bundle, entries):
    line = ["--root", root, f"--bundle={bundle}"]
    for entry in entries:
        line.extend(["--env", entry])
    values = parse(line, TABLE, interspersed=False)

    assert (root, bundle, entries, []) == (
        values.text("root"),
        values.text("bundle"),
        values.list("env"),
        values.words,
    )


def test_three_dashes_are_no_flag():
    with pytest.raises(UsageError, match="unknown flag ---root"):
        parse(["---root=/x"], (Flag(("root",), TEXT, ""),), interspersed=True)
