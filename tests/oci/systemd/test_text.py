"""Values of annotations: the table is what runc's reader (godbus ParseVariant) makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.systemd import wire
from aisbx_runtime.oci.systemd.text import value_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15", ("i", 15)),
        ("-1", ("i", -1)),
        (" 15 ", ("i", 15)),
        ("0x10", ("i", 16)),
        ("010", ("i", 8)),
        ("0", ("i", 0)),
        ("2.5", ("d", 2.5)),
        ("1e3", ("d", 1000.0)),
        ("uint64 10000000", ("t", 10_000_000)),
        ("uint32 5", ("u", 5)),
        ("byte 255", ("y", 255)),
        ("int16 -3", ("n", -3)),
        ("int64 5", ("x", 5)),
        ("double 3", ("d", 3.0)),
        ("@t 5", ("t", 5)),
        ("true", ("b", True)),
        ("false", ("b", False)),
        ("'inactive-or-failed'", ("s", "inactive-or-failed")),
        ('"a b"', ("s", "a b")),
        ("'it\\'s'", ("s", "it's")),
        ("'\\u00e9\\n'", ("s", "é\n")),
        ("objectpath '/a'", ("o", "/a")),
        ("signature 'as'", ("g", "as")),
        ("['a', 'b']", ("as", ("a", "b"))),
        ("['a','b' ]", ("as", ("a", "b"))),
        ("@as []", ("as", ())),
        ("[1, 2]", ("ai", (1, 2))),
        ("[1, uint64 2]", ("at", (1, 2))),
        ("@at [1, 2]", ("at", (1, 2))),
        ("[[1], [2, 3]]", ("aai", ((1,), (2, 3)))),
        ("[@as [], ['x']]", ("aas", ((), ("x",)))),
        ("b'ab'", ("ay", b"ab\0")),
        ("<'a'>", ("v", ("s", "a"))),
        ("{'a': 1}", ("a{si}", (("a", 1),))),
        ("@a{sv} {}", ("a{sv}", ())),
        # Beyond what runc reads: structs, which DeviceAllow and its like are made of.
        ("[('/dev/kvm', 'rw')]", ("a(ss)", (("/dev/kvm", "rw"),))),
        ("(1,)", ("(i)", (1,))),
    ],
)
def test_a_value(text, expected):
    assert expected == value_of(text)
    wire.put_all(bytearray(), expected[0], (expected[1],))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "abc", "infinity", "uint64", "uint64 -1", "uint32 4294967296", "4294967296", "5 6",
        "byte 256", "'open", "[1, 'a']", "[1", "[1,]", "[]", "{}", "@ 5", "@z 5", "@ss 5",
        "true false",
        "uint64 'a'", "'a' 1", "1.2.3", "0x", "08", "1_0", "<1, 2>", "{'a' 1}", "{1: 2", "@as [1]",
        "uint64 true", "boolean 1", "string 5", "uint64 uint32 5", "'\\u12'", "[" * 40, "handle 1",
        "int16 40000", ",", "--5",
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        value_of(text)


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_refused(text):
    try:
        signature, value = value_of(text)
    except ValueError:
        return
    if "\0" not in text:
        wire.put_all(bytearray(), signature, (value,))


@given(st.text(st.sampled_from("[]{}()<>@',:\"\\ ab01x.-uint64true"), max_size=14))
def test_any_text_of_its_alphabet_is_a_value_or_refused(text):
    try:
        signature, value = value_of(text)
    except ValueError:
        return
    wire.put_all(bytearray(), signature, (value,))


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_every_number_is_read_as_it_is_written(number):
    assert ("i", number) == value_of(str(number))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_every_text_is_read_as_it_is_written(text):
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")

    assert ("s", text) == value_of(f"'{quoted}'")
