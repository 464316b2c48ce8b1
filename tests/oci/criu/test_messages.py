"""Requests and answers of criu's RPC, by the numbers of its rpc.proto."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.criu import messages, wire
from aisbx_runtime.oci.criu.messages import Answer, Options


def options(fill):
    made = Options()
    fill(made)
    return wire.fields_of(made.encoded())


def test_options_have_the_numbers_of_criu():
    def fill(made):
        made.number("pid", 77)
        made.number("leave_running", 1)
        made.text("root", "/r")
        made.text("external", "a")
        made.text("external", "b")

    assert [(2, 77), (3, 1), (13, b"/r"), (37, b"a"), (37, b"b")] == options(fill)


def test_pairs_are_messages_of_two_fields():
    def fill(made):
        made.pair("ext_mnt", "/data", "/srv")
        made.pair("inherit_fd", "pipe:[1]", 2)

    first, second = options(fill)

    assert (23, [(1, b"/data"), (2, b"/srv")]) == (first[0], wire.fields_of(first[1]))
    assert (27, [(1, b"pipe:[1]"), (2, 2)]) == (second[0], wire.fields_of(second[1]))


def test_a_path_may_be_any_bytes():
    (field,) = options(lambda made: made.text("root", "/\udcff"))

    assert (13, b"/\xff") == field


def test_an_option_that_criu_does_not_have_is_a_defect():
    with pytest.raises(KeyError):
        Options().number("nonsense", 1)


def test_a_request_is_its_type_and_its_options():
    made = Options()
    made.number("pid", 5)
    fields = wire.fields_of(messages.request(messages.DUMP, made))

    assert [(1, 1), (2, made.encoded())] == fields


def test_a_notification_is_answered_with_yes_or_no():
    assert [(1, 6), (3, 1)] == wire.fields_of(messages.notified(success=True))
    assert [(1, 6), (3, 0)] == wire.fields_of(messages.notified(success=False))


def response(kind, success, rest=b""):
    return wire.number_field(1, kind) + wire.number_field(2, success) + rest


def test_the_answer_to_a_restore_has_the_pid():
    rest = wire.bytes_field(4, wire.number_field(1, 4711))

    assert Answer(messages.RESTORE, success=True, pid=4711) == messages.answer_of(
        response(2, 1, rest)
    )


def test_a_notification_has_a_script_and_may_have_a_pid():
    notice = wire.bytes_field(1, b"post-restore") + wire.number_field(2, 9)
    said = messages.answer_of(response(6, 1, wire.bytes_field(5, notice)))

    assert ("post-restore", 9) == (said.script, said.pid)


def test_a_failure_has_the_first_error_of_the_log():
    rest = wire.number_field(7, 17) + wire.bytes_field(9, b"because")
    said = messages.answer_of(response(1, 0, rest))

    assert (False, 17, "because") == (said.success, said.errno, said.message)


def test_features_are_those_that_are_there():
    rest = wire.bytes_field(8, wire.number_field(1, 0) + wire.number_field(2, 1))

    assert ("lazy_pages",) == messages.answer_of(response(9, 1, rest)).features


@pytest.mark.parametrize("message", [b"", wire.number_field(1, 6), b"\xff"])
def test_what_is_no_answer_is_an_error(message):
    with pytest.raises(ValueError, match=r"\w"):
        messages.answer_of(message)
