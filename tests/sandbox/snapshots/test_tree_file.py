"""Trees as JSON: one way to write each, and nothing else is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.snapshots.tree_file import Base, Tree, decoded, encoded
from aisbx_runtime.sandbox.tree import Entry
from tests.strategies import json_values
from tests.trees import trees

BASE = Base("docker://docker.io/library/alpine:latest", f"sha256:{'0' * 64}", "0" * 64 + "-v1")


@given(trees())
def test_what_is_written_is_read(drawn):
    tree = Tree(BASE, tuple(drawn[0]))

    assert tree == decoded(encoded(tree)[1], "here")


def document(**changes):
    value = json.loads(encoded(Tree(BASE, (Entry(".", "directory", 0o755),)))[1])
    value.update(changes)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def test_the_document_that_the_next_tests_change_is_read():
    assert BASE == decoded(document(), "here").base


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b"\xff",
        b"[]",
        b"{}",
        document(version=2),
        document(version=True),
        document(more=1),
        document(base={}),
        document(base={"reference": "a", "digest": "b", "rootfs": 1}),
        document(base={"reference": "a", "digest": BASE.digest, "rootfs": "../../etc"}),
        document(entries={}),
        document(entries=["a"]),
        document(entries=[{"path": "a"}]),
        document(entries=[{"path": "a", "kind": "file", "size": -1}]),
        document(entries=[{"path": "a", "kind": "file", "size": 2**63}]),
        document(entries=[{"path": "a", "kind": "file", "size": 1.0}]),
        document(entries=[{"path": "a", "kind": "file", "digest": "sha256:../../../x"}]),
        document(entries=[{"path": "a", "kind": "file", "mode": 0}]),
        document(entries=[{"path": "a", "kind": "file", "more": 1}]),
        document(entries=[{"path": "a", "kind": "block", "device": [1]}]),
        document(entries=[{"path": "a", "kind": "file", "xattrs": [["user.a", "?"]]}]),
        document(entries=[{"path": "a", "kind": "file", "xattrs": [["user.a"]]}]),
        document() + b"\n",
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(InputError):
        decoded(data, "here")


@given(st.dictionaries(st.sampled_from(["version", "base", "entries", "x"]), json_values))
def test_no_document_breaks_the_reader(changes):
    try:
        found = decoded(document(**changes), "here")
    except InputError:
        return
    assert isinstance(found, Tree)
