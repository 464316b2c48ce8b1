"""criu's log in one line: what was wrong first, what criu gave up on, what to do."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.criu import log
from aisbx_runtime.oci.criu.messages import Answer
from aisbx_runtime.oci.errors import RESERVED_WORDS

FAILED = Answer(1, success=False, message="first of the answer")


def failure(tmp_path, *lines):
    path = tmp_path / "dump.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return log.failure("cannot checkpoint container c", FAILED, str(path))


def test_the_errors_are_quoted_without_times_and_places(tmp_path):
    found = failure(
        tmp_path,
        "(00.001) Dumping",
        "(00.002) Error (criu/files.c:12): Can't dump socket",
        "(00.003)      1: Error (criu/tasks.c:1): task 1 failed",
        "(00.004) Error (criu/cr-dump.c:1): Dumping FAILED.",
    )

    assert "criu: Can't dump socket; task 1 failed" == found.why
    assert f"{tmp_path}/dump.log" == found.where


def test_of_many_errors_the_first_and_the_last_are_quoted(tmp_path):
    found = failure(tmp_path, *[f"(00.1) Error (x.c:{n}): number {n}" for n in range(1, 9)])

    assert "criu: number 1; number 7; number 8" == found.why


def test_what_every_log_says_is_left_out(tmp_path):
    said = (
        "Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted"
    )

    assert "criu: first of the answer" == failure(tmp_path, said).why


def test_without_a_log_the_answer_is_quoted(tmp_path):
    found = log.failure("cannot", FAILED, f"{tmp_path}/missing")

    assert ("criu: first of the answer", "") == (found.why, found.where)


def test_a_criu_that_ended_is_told_of(tmp_path):
    assert "without an answer" in log.failure("cannot", None, f"{tmp_path}/missing").why


@pytest.mark.parametrize("words", RESERVED_WORDS)
def test_words_that_engines_match_become_names(tmp_path, words):
    found = failure(tmp_path, f"(1) Error (x.c:1): open: {words.capitalize()}, {words}")

    assert words not in found.why.lower()
    assert not any(word in hint.lower() for _, hint in log.HINTS for word in RESERVED_WORDS)


def test_a_known_error_has_its_remedy(tmp_path):
    found = failure(tmp_path, "(1) Error (sk-inet.c:1): inet: Connected TCP socket, consider using")

    assert "--tcp-established" in found.hint
