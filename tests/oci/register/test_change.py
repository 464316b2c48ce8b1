"""Files of ours and of others: what is written, what is refused."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.register.change import (
    Change,
    apply,
    is_ours,
    marked,
    of_marked,
    quoted,
    read,
)


# ---- the mark ------------------------------------------------------------------------------------
@given(st.text())
def test_what_was_marked_is_ours(text):
    assert is_ours(marked(text))


@given(st.text(), st.data())
def test_what_somebody_has_edited_is_not_ours(text, data):
    whole = marked(text)
    at = data.draw(st.integers(0, len(whole)))

    assert not is_ours(whole[:at] + b"x" + whole[at:])


@given(st.binary())
def test_what_others_wrote_is_not_ours(data):
    assert not is_ours(data)


def test_a_script_keeps_its_first_line():
    assert marked("#!/bin/sh\necho hi\n").startswith(b"#!/bin/sh\n# Written by aisbx-runtime")


# ---- changes -------------------------------------------------------------------------------------
def test_a_file_is_written_changed_left_and_removed(tmp_path):
    path = f"{tmp_path}/a/b/file"
    words = []
    for text in ("one\n", "two\n", "two\n", None, None):
        change = of_marked(path, text)
        apply(change)
        words.append(change.word())

    assert words == ["written", "changed", "unchanged", "removed", "absent"]
    assert os.listdir(f"{tmp_path}/a/b") == []


@pytest.mark.parametrize("text", ["new\n", None])
def test_a_file_of_somebody_else_is_refused(tmp_path, text):
    path = tmp_path / "file"
    path.write_text("theirs\n")
    with pytest.raises(HostError, match="somebody else"):
        of_marked(str(path), text)


def test_a_link_is_refused(tmp_path):
    os.symlink("/nonexistent", tmp_path / "link")
    with pytest.raises(HostError, match="no regular file"):
        read(f"{tmp_path}/link")


def test_a_new_file_has_the_mode_that_was_asked_for(tmp_path):
    apply(of_marked(f"{tmp_path}/shim", "#!/bin/sh\n", 0o755))

    assert stat.S_IMODE(os.stat(f"{tmp_path}/shim").st_mode) == 0o755


def test_a_changed_file_keeps_its_mode(tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text("old")
    path.chmod(0o600)
    apply(Change(str(path), b"old", b"new"))

    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


def test_a_change_that_fails_leaves_all_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.mkdir()
    (path / "below").write_text("")
    with pytest.raises(OSError, match="directory"):
        apply(Change(str(path), None, b"new"))

    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("path", "expected"), [("/a b", '"/a b"'), ('/a"b\\', '"/a\\"b\\\\"'), ("/é", '"/é"')]
)
def test_a_path_is_quoted(path, expected):
    assert quoted(path) == expected


def test_a_path_with_a_newline_is_refused():
    with pytest.raises(HostError, match="configuration file"):
        quoted("/a\nb")
