"""What is made from entries is read back as the same entries."""

from __future__ import annotations

import io
import os
import shutil
import tempfile

from hypothesis import given

from aisbx_runtime.sandbox.tree import Mapping, Overlay, make, walk
from tests import strategies  # noqa: F401 - sets how many examples there are
from tests.trees import ROOT, trees

IDENTITY = Mapping.of([[0, os.getuid(), 1]], [[0, os.getgid(), 1]])
SHIFTED = Mapping.of([[0, 100000, 65536]], [[0, 200000, 1000], [1000, 300000, 64536]])


def made_and_read(entries, contents, mapping, overlay):
    place = tempfile.mkdtemp(prefix="aisbx-tree-")
    fd = os.open(place, os.O_RDONLY)
    try:
        make(fd, entries, lambda entry: io.BytesIO(contents[entry.path]), mapping, overlay=overlay)
        return walk(fd, mapping, digest=True, overlay=overlay)
    finally:
        os.close(fd)
        shutil.rmtree(place)


@given(trees())
def test_what_is_made_is_read_back(tree):
    entries, contents = tree
    overlay = Overlay("trusted" if ROOT else "user")
    mapping = None if ROOT else IDENTITY

    assert made_and_read(entries, contents, mapping, overlay) == entries


@given(trees())
def test_what_is_made_for_a_user_namespace_is_read_back(tree):
    entries, contents = tree
    mapping = SHIFTED if ROOT else IDENTITY

    assert made_and_read(entries, contents, mapping, Overlay("user")) == entries
