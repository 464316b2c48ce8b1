from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images import document, manifest

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "a": 1}}',
        b"NaN",
        b"[" * 100_000,
        b" " * (document.LONGEST_BYTES + 1),
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_or_ambiguous_is_refused(content):
    with pytest.raises(InputError):
        document.parsed(content, "here")


@pytest.mark.parametrize(
    "content", [b'{"a": -1}', b'{"a": 1.5}', b'{"a": true}', b'{"a": "1"}', b'{"a": 1e400}', b"{}"]
)
def test_a_number_is_whole_and_not_negative(content):
    with pytest.raises(InputError, match=r"^a: "):
        document.parsed(content, "here").at("a").number()


@pytest.mark.parametrize(
    "content", [b'{"a": "x\\u0000y"}', b'{"a": "\\ud800"}', b'{"a": 1}', b"{}"]
)
def test_a_string_has_no_nul_and_can_be_written(content):
    with pytest.raises(InputError, match=r"^a: "):
        document.parsed(content, "here").at("a").text()


def test_an_error_names_the_field():
    with pytest.raises(InputError, match=r"^layers\[1\]\.size: expected a whole number, got \"x\""):
        list(document.parsed(b'{"layers": [{}, {"size": "x"}]}', "here").at("layers").items())[
            1
        ].at("size").number()


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content):
    for read in (manifest.index_of, manifest.manifest_of, manifest.config_of, manifest.is_index):
        try:
            read(content, "here")
        except InputError:
            continue


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "schemaVersion",
                    "config",
                    "layers",
                    "digest",
                    "size",
                    "mediaType",
                    "rootfs",
                    "Env",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES)
def test_any_json_is_read_or_refused(value):
    import json

    content = json.dumps(value).encode()
    for read in (manifest.index_of, manifest.manifest_of, manifest.config_of, manifest.is_index):
        try:
            read(content, "here")
        except InputError:
            continue
