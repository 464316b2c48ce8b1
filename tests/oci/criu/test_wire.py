"""Protocol buffers: what is encoded is decoded again, and the examples of protobuf.dev hold."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.criu import wire

NUMBERS = st.integers(0, (1 << 64) - 1)
TAGS = st.integers(1, (1 << 29) - 1)


@pytest.mark.parametrize(
    ("number", "encoded"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (150, "9601")]
)
def test_a_number_is_written_in_groups_of_seven_bits(number, encoded):
    assert encoded == wire.varint(number).hex()


def test_a_negative_number_takes_ten_bytes():
    # protobuf.dev, "Signed Integers": int32 -2 is sign-extended to 64 bits.
    assert "feffffffffffffffff01" == wire.varint(-2).hex()
    assert [(3, (1 << 64) - 2)] == wire.fields_of(wire.number_field(3, -2))
    assert -2 == wire.signed((1 << 64) - 2)


def test_the_examples_of_the_documentation():
    assert "089601" == wire.number_field(1, 150).hex()
    assert "120774657374696e67" == wire.bytes_field(2, b"testing").hex()


@given(st.lists(st.tuples(TAGS, NUMBERS | st.binary(max_size=300))))
def test_fields_come_back_as_they_were(fields):
    encoded = b"".join(
        wire.number_field(tag, value) if isinstance(value, int) else wire.bytes_field(tag, value)
        for tag, value in fields
    )

    assert fields == wire.fields_of(encoded)


def test_numbers_of_fixed_size_are_passed_over():
    message = bytes.fromhex("0d01020304") + bytes.fromhex("11") + bytes(8)

    assert [(1, b"\1\2\3\4"), (2, bytes(8))] == wire.fields_of(message)


@pytest.mark.parametrize(
    "damaged", ["08", "0880", "0aff01", "0a0261", "0b", "0d0102", "08" + "80" * 11]
)
def test_a_damaged_message_is_an_error(damaged):
    with pytest.raises(ValueError, match=r"\w"):
        wire.fields_of(bytes.fromhex(damaged))


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_error(message):
    with contextlib.suppress(ValueError):
        wire.fields_of(message)


def test_only_contents_of_the_tag_are_returned():
    message = wire.bytes_field(2, b"a") + wire.number_field(2, 7) + wire.bytes_field(3, b"b")

    assert [b"a"] == wire.contents_of(message + wire.bytes_field(2, b""), 2)[:1]
    assert [b"a", b""] == wire.contents_of(message + wire.bytes_field(2, b""), 2)
