"""What `start` makes of the words of the stub."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import RESERVED_WORDS, CommandError, Failure
from aisbx_runtime.oci.lifecycle import start


def failure_of(said: str) -> Failure:
    return start.failure_of(said, "process.args[0]")


@pytest.mark.parametrize("name", ["ENOENT", "ENOTDIR"])
def test_a_missing_interpreter_is_a_missing_program(name):
    failure = failure_of(f"execve {getattr(errno, name)}")

    assert isinstance(failure, CommandError)
    assert "no such file or directory" in failure.what
    assert "first line of the script" in failure.hint


@pytest.mark.parametrize(
    ("said", "why", "hint"),
    [
        ("execve 8", "execve: ENOEXEC", "script without #!"),
        ("execve 7", "execve: E2BIG", "too large"),
        ("execve 1", "execve: EPERM", ""),
        ("seccomp 22", "seccomp: EINVAL", ""),
        ("execve 999", "execve: 999", ""),
    ],
)
def test_a_failed_call_is_named(said, why, hint):
    failure = failure_of(said)

    assert ("cannot execute the program", why, "process.args[0]") == (
        failure.what,
        failure.why,
        failure.where,
    )
    assert hint in failure.hint


def test_the_words_of_a_hook_are_passed_on():
    assert (
        "error running hook: startContainer /x"
        == failure_of("hook error running hook: startContainer /x").what
    )


@given(st.text(min_size=1))
def test_any_words_are_a_failure(said):
    assert failure_of(said).what


@pytest.mark.parametrize("number", sorted(set(errno.errorcode) - {errno.ENOENT, errno.ENOTDIR}))
def test_only_a_missing_program_has_the_words_that_make_exit_127(number):
    line = failure_of(f"execve {number}").line().lower()

    assert [] == [word for word in RESERVED_WORDS if word in line]


@pytest.mark.parametrize("parts", [(), (b"execve 2",), (b"a" * 5000, b"b" * 5000)])
def test_everything_is_read_until_the_end(parts):
    near, far = socket.socketpair()
    for part in parts:
        far.send(part)
    far.close()

    assert b"".join(parts).decode() == start.read_to_end(near)
    near.close()
