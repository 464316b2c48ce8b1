"""The file of `mounts add`."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import parse
from aisbx_runtime.oci.spec.model import Mount


def test_a_file_of_mounts_is_an_array():
    found, _ = parse.mounts_of('\n[{"destination": "x", "options": ["ro"]}]\n', "f")

    assert (Mount("/x", "", "", ("ro",)),) == found


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("{}", "expected an array of mounts", "f"),
        ('[], "root": []', "expected an array of mounts", "f"),
        ("null", "expected an array of mounts", "f"),
        ('[{"destination": "/a"},\n {"destination": 1}]', "mounts[1].destination", "f:2"),
        ("[\n", "invalid JSON", "f:2"),
    ],
)
def test_a_file_of_mounts_that_is_wrong_is_told_by_its_lines(text, what, where):
    with pytest.raises(SpecError) as caught:
        parse.mounts_of(text, "f")

    assert caught.value.what.startswith(what)
    assert caught.value.where.startswith(where)
