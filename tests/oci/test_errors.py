"""Failures: fields, one line, the wire, names of system calls and never the words of strerror."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci import errors, jsontext
from aisbx_runtime.oci.errors import Failure, KernelError, StepError

texts = st.text()
types = st.sampled_from(
    [
        Failure, errors.SpecError, errors.UsageError, errors.StateError, errors.HostError,
        StepError, errors.CommandError,
    ]
)  # fmt: skip


@given(types, texts, texts, texts, texts)
def test_a_failure_comes_through_the_wire_as_it_was(cls, what, where, why, hint):
    sent = cls(what, where=where, why=why, hint=hint)
    message = jsontext.parse(jsontext.dump(errors.to_wire(sent)))
    received = errors.from_wire(message)

    assert type(sent) is type(received)
    assert vars(sent) == vars(received)


@given(st.dictionaries(st.sampled_from(["type", "what", "where", "why", "x"]), st.integers()))
def test_any_object_on_the_wire_is_a_failure(message):
    assert isinstance(errors.from_wire(message), Failure)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "cannot do it"),
        ({"why": "open: ENOENT"}, "cannot do it: open: ENOENT"),
        ({"where": "mounts[1]"}, "cannot do it (mounts[1])"),
        (
            {"why": "open: ENOENT", "where": "mounts[1]", "hint": "no"},
            "cannot do it: open: ENOENT (mounts[1])",
        ),
    ],
)
def test_a_line_has_what_then_why_then_where(fields, line):
    assert line == Failure("cannot do it", **fields).line()


def test_why_names_the_call_the_error_and_the_path():
    error = errors.kernel_error(errno.ENOENT, "open_tree", "/srv")

    assert "open_tree: ENOENT /srv" == errors.why_of(error)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.EACCES, "Permission denied", "/x"), "EACCES /x"),
        (OSError(errno.EACCES, "Permission denied", b"/x\xff"), "EACCES /x\ufffd"),
        (OSError(errno.EACCES, "Permission denied", 7), "EACCES 7"),
        (OSError(errno.EACCES, "Permission denied"), "EACCES"),
        (OSError(99999, "strange"), "errno 99999"),
        (OSError("timed out"), "timed out"),
        (errors.kernel_error(99999, "bpf"), "bpf: errno 99999"),
    ],
)
def test_why_of_any_error_of_the_system(error, why):
    assert why == errors.why_of(error)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_no_error_has_words_that_engines_take_for_the_users_command(number):
    error = errors.kernel_error(number, "mount_setattr", "/x")
    said = f"{errors.why_of(error)} {error} {errors.hint_of(error)}"

    assert [] == [word for word in errors.RESERVED_WORDS if word in said.lower()]


def test_hints_hold_no_reserved_words_either():
    hints = " ".join(errors.HINTS.values()).lower()

    assert [] == [word for word in errors.RESERVED_WORDS if word in hints]


def test_a_hint_is_for_a_call_and_its_error():
    assert "create it" in errors.hint_of(errors.kernel_error(errno.ENOENT, "open_tree"))
    assert "" == errors.hint_of(errors.kernel_error(errno.ENOENT, "setns"))
    assert "" == errors.hint_of(OSError(errno.ENOENT, os.strerror(errno.ENOENT)))


@pytest.mark.parametrize("key", sorted(errors.HINTS))
def test_every_hint_can_be_reached_by_an_error_that_exists(key):
    syscall, name = key

    assert errors.HINTS[key] == errors.hint_of(errors.kernel_error(getattr(errno, name), syscall))


def test_a_kernel_error_is_an_oserror_with_its_name_for_text():
    error = errors.kernel_error(errno.EPERM, "setns", "/ns")

    assert isinstance(error, KernelError)
    assert isinstance(error, OSError)
    assert "[Errno 1] EPERM: '/ns'" == str(error)


def test_a_failure_exits_with_1_unless_it_says_otherwise():
    assert (1, 255) == (Failure("x").exit_code, Failure("x", exit_code=255).exit_code)
