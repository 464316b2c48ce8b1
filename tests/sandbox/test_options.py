"""The one table of options: the quick reading of `aisbx run` and click's are the same."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.sandbox.cli.shape import click_options, request_of
from aisbx_runtime.sandbox.options import FLAG, RUN, quickly_parsed

VALUES = ("x", "", "-", "--", "a=b", "--name", "-d", "-5", "image", "--env=q")


def by_click(words):
    """Return what click makes of the words, or None where it refuses them."""
    found = []

    @click.command(context_settings={"allow_interspersed_args": False})
    @click_options(RUN)
    @click.argument("reference")
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def run(reference, words, **given):
        found.append(request_of(reference, words, given, RUN))

    try:
        run.main(list(words), standalone_mode=False)
    except click.ClickException:
        return None
    return found[0] if found else None


def seen(request):
    return (request.reference, request.command, request.values)


def words_of_an_option(option):
    names = [f"--{option.name}", *([f"-{option.letter}"] if option.letter else [])]
    if option.kind == FLAG:
        return st.sampled_from(names).map(lambda name: [name])
    return st.one_of(
        st.tuples(st.sampled_from(names), st.sampled_from(VALUES)).map(list),
        st.sampled_from(VALUES).map(lambda value: [f"--{option.name}={value}"]),
    )


OPTIONS = st.one_of([words_of_an_option(option) for option in RUN])
LINES = st.tuples(
    st.lists(OPTIONS, max_size=4).map(lambda parts: [word for part in parts for word in part]),
    st.lists(st.sampled_from((*VALUES, "ls", "-l")), max_size=4),
).map(lambda parts: parts[0] + parts[1])


@given(LINES)
def test_what_is_read_quickly_is_what_click_reads(words):
    quick = quickly_parsed(words)
    if quick is not None:
        slow = by_click(words)

        assert slow is not None
        assert seen(slow) == seen(quick)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["a"], []),
        (["a", "ls", "-l"], ["ls", "-l"]),
        (["a", "--", "ls", "-l"], ["ls", "-l"]),
        (["a", "--", "--", "x"], ["--", "x"]),
        (["--name", "n", "-e", "A=1", "--env=B=2", "a", "-d"], ["-d"]),
    ],
)
def test_the_usual_ways_are_read_quickly(words, command):
    quick = quickly_parsed(words)

    assert quick is not None
    assert quick.reference == "a"
    assert quick.command == command


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["-dt", "a"], ["--name"], ["--json", "a"], ["--detach=1", "a"]]
)
def test_what_is_not_usual_is_left_to_click(words):
    assert quickly_parsed(words) is None
