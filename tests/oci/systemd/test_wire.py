"""D-Bus messages: known bytes, and whatever is written is read back the same."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.systemd import wire
from aisbx_runtime.oci.systemd.wire import WireError

SERIAL = 7
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
SIMPLE = {
    "y": st.integers(0, 255),
    "b": st.booleans(),
    "n": st.integers(-(1 << 15), (1 << 15) - 1),
    "q": st.integers(0, (1 << 16) - 1),
    "i": st.integers(-(1 << 31), (1 << 31) - 1),
    "u": st.integers(0, (1 << 32) - 1),
    "x": st.integers(-(1 << 63), (1 << 63) - 1),
    "t": st.integers(0, (1 << 64) - 1),
    "d": st.floats(allow_nan=False),
    "s": TEXTS,
    "o": st.just("/a/b"),
    "g": st.sampled_from(["", "s", "a(sv)"]),
}


def of_type(kind: str, inner):
    """Return (signature, values) strategies of a container made of others."""
    if kind == "array":
        return inner.flatmap(
            lambda one: st.tuples(
                st.just(f"a{one[0]}"), st.lists(st.just(one[1]), max_size=3).map(tuple)
            )
        )
    if kind == "struct":
        return st.lists(inner, min_size=1, max_size=3).map(
            lambda many: (f"({''.join([one[0] for one in many])})", tuple([one[1] for one in many]))
        )
    if kind == "dictionary":
        return st.tuples(TEXTS, inner).map(
            lambda one: (f"a{{s{one[1][0]}}}", ((one[0], one[1][1]),))
        )
    return inner.map(lambda one: ("v", one))


VALUES = st.recursive(
    st.sampled_from(sorted(SIMPLE)).flatmap(lambda kind: st.tuples(st.just(kind), SIMPLE[kind])),
    lambda inner: st.one_of(
        [of_type(kind, inner) for kind in ("array", "struct", "dictionary", "variant")]
    ),
    max_leaves=6,
)


def read_back(signature, *values):
    data = wire.call(SERIAL, "a.b", "/a", ("a.b", "C"), signature, values)
    assert len(data) == wire.size_of(data)
    return wire.message_of(data)


@given(st.lists(VALUES, max_size=4))
def test_what_is_written_is_read_back(values):
    found = read_back("".join([kind for kind, _ in values]), *[value for _, value in values])

    assert (wire.CALL, SERIAL, "/a", "a.b", "C") == (
        found.kind, found.serial, found.path, found.interface, found.member,
    )  # fmt: skip
    assert tuple([value for _, value in values]) == found.body


# The fields by hand, from the table of the specification: "Message Format", "Header Fields".
HELLO = b"".join(
    [
        b"l\x01\x00\x01" + b"\x00\x00\x00\x00" + b"\x01\x00\x00\x00",
        b"\x6d\x00\x00\x00",
        b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00",
        b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00",
        b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00",
        b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00",
        b"\x00\x00\x00",
    ]
)


def test_the_first_call_of_every_connection():
    made = wire.call(1, "org.freedesktop.DBus", "/org/freedesktop/DBus", (
        "org.freedesktop.DBus", "Hello",
    ))  # fmt: skip

    assert HELLO == made


@pytest.mark.parametrize(
    ("signature", "value", "expected"),
    [
        ("y", 5, b"\x05"),
        ("b", True, b"\x01\x00\x00\x00"),
        ("i", -2, b"\xfe\xff\xff\xff"),
        ("t", 1, b"\x01\x00\x00\x00\x00\x00\x00\x00"),
        ("d", 1.0, b"\x00\x00\x00\x00\x00\x00\xf0\x3f"),
        ("s", "é", b"\x02\x00\x00\x00\xc3\xa9\x00"),
        ("g", "as", b"\x02as\x00"),
        ("ay", b"\x01\x02", b"\x02\x00\x00\x00\x01\x02"),
        ("au", (7,), b"\x04\x00\x00\x00\x07\x00\x00\x00"),
        # The padding before the first element is not part of the length.
        ("at", (7,), b"\x08\x00\x00\x00\x00\x00\x00\x00\x07" + bytes(7)),
        ("at", (), b"\x00\x00\x00\x00\x00\x00\x00\x00"),
        ("v", ("s", "a"), b"\x01s\x00\x00\x01\x00\x00\x00a\x00"),
        ("a(sv)", (("A", ("b", True)),), b"\x10\x00\x00\x00" + bytes(4)
         + b"\x01\x00\x00\x00A\x00\x01b\x00\x00\x00\x00\x01\x00\x00\x00"),
    ],
)  # fmt: skip
def test_a_value_is_aligned_as_the_specification_has_it(signature, value, expected):
    out = bytearray()
    wire.put_all(out, signature, (value,))

    assert expected == bytes(out)


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ("y", 256),
        ("y", -1),
        ("u", -1),
        ("t", 1 << 64),
        ("i", True),
        ("b", 1),
        ("s", 1),
        ("s", "a\0b"),
        ("u", "1"),
        ("as", "a"),
        ("(ss)", ("a",)),
        ("v", "a"),
        ("d", "x"),
    ],
)
def test_a_value_of_another_type_is_refused(signature, value):
    with pytest.raises(WireError):
        wire.put_all(bytearray(), signature, (value,))


@pytest.mark.parametrize("signature", ["a", "(s", "()", "z", "s)", "{", "a{ss", "(" * 40])
def test_a_signature_that_is_none_is_refused(signature):
    with pytest.raises(WireError):
        wire.types_of(signature)


def test_types_of_a_signature():
    assert ["s", "s", "a(sv)", "a(sa(sv))", "a{sv}"] == wire.types_of("ssa(sv)a(sa(sv))a{sv}")


@pytest.mark.parametrize("length", range(wire.HEADER_BYTES))
def test_too_few_bytes_are_waited_for(length):
    assert wire.size_of(HELLO[:length]) == 0


@pytest.mark.parametrize("begin", [b"B\x01\x00\x01", b"l\x01\x00\x02", b"GET "])
def test_what_does_not_begin_a_message_is_refused(begin):
    with pytest.raises(WireError):
        wire.size_of(begin + HELLO[4:])


def test_a_message_that_is_too_long_is_refused():
    with pytest.raises(WireError):
        wire.size_of(HELLO[:4] + b"\xff\xff\xff\xff" + HELLO[8:])


@given(st.binary(max_size=90), st.integers(0, 90))
def test_damaged_bytes_are_refused_or_read_and_nothing_else(noise, at):
    data = HELLO[:at] + noise + HELLO[at + len(noise) :]
    with contextlib.suppress(WireError):
        wire.message_of(data[: wire.size_of(data)])
