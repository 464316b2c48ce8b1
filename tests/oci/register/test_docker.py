"""daemon.json: one key goes in and comes out again, and nothing else moves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.register import docker
from aisbx_runtime.oci.register.change import apply
from aisbx_runtime.oci.register.docker import with_runtime, without_runtime

PROGRAM = "/usr/local/bin/aisbx-runtime"
OURS = {"path": PROGRAM}


def added(text):
    return with_runtime(text, PROGRAM, "daemon.json")


def taken(text):
    return without_runtime(text, "daemon.json")


# ---- how it looks --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "",
            json.dumps({"runtimes": {"aisbx": {"path": "P"}}}, indent=4) + "\n",
        ),
        ('{"a": 1}', '{"a": 1, "runtimes": {"aisbx": {"path": "P"}}}'),
        (
            '{\n  "a": [1,   2]\n}\n',
            (
                '{\n  "a": [1,   2],\n  "runtimes": {\n    "aisbx": {\n      "path": "P"\n    }\n'
                "  }\n}\n"
            ),
        ),
        (
            '{\n\t"runtimes": {\n\t\t"x": {"path": "/x"}\n\t},\n\t"a": 1\n}',
            (
                '{\n\t"runtimes": {\n\t\t"x": {"path": "/x"},\n\t\t"aisbx": {\n\t\t\t"path": "P"\n'
                '\t\t}\n\t},\n\t"a": 1\n}'
            ),
        ),
        (
            '{\n  "runtimes": {"x": {"path": "/x"}}\n}',
            '{\n  "runtimes": {"x": {"path": "/x"}, "aisbx": {"path": "P"}}\n}',
        ),
        (
            '{\n  "runtimes": {}\n}',
            '{\n  "runtimes": {\n    "aisbx": {\n      "path": "P"\n    }\n  }\n}',
        ),
    ],
)
def test_the_runtime_is_added_in_the_style_of_the_file(before, after):
    assert added(before) == after.replace('"P"', f'"{PROGRAM}"')


# ---- what it means -------------------------------------------------------------------------------
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RUNTIMES = st.dictionaries(
    st.text().filter(lambda name: name != "aisbx"), st.dictionaries(st.text(), VALUES, max_size=2),
    min_size=1, max_size=3,
)  # fmt: skip
SETTINGS = st.dictionaries(st.text().filter(lambda key: key != "runtimes"), VALUES, max_size=4)
INDENTS = st.sampled_from([None, 1, 2, 4, "\t"])


@st.composite
def files(draw):
    """The text of a daemon.json without us."""
    settings = draw(SETTINGS)
    if draw(st.booleans()):
        items = [*settings.items(), ("runtimes", draw(RUNTIMES))]
        settings = dict(draw(st.permutations(items)))
    text = json.dumps(settings, indent=draw(INDENTS), ensure_ascii=draw(st.booleans()))
    return text + draw(st.sampled_from(["", "\n", " \n"]))


@given(files())
def test_everything_else_means_what_it_meant(text):
    expected = json.loads(text)
    expected.setdefault("runtimes", {})["aisbx"] = OURS

    assert json.loads(added(text)) == expected


@given(files())
def test_it_comes_out_again_to_the_last_blank(text):
    assert taken(added(text)) == text


@given(files())
def test_adding_it_again_changes_nothing(text):
    assert added(added(text)) == added(text)


@given(files())
def test_what_holds_no_runtime_of_ours_stays(text):
    assert taken(text) == text


def test_another_place_of_ours_is_followed():
    text = added('{\n  "debug": true\n}').replace(PROGRAM, "/opt/aisbx-runtime")

    assert json.loads(added(text)) == {"debug": True, "runtimes": {"aisbx": OURS}}


# ---- what is not ours ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "entry",
    ['{"path": "/usr/bin/runc"}', '{"path": "/aisbx-runtime", "runtimeArgs": []}', "{}", "null"],
)
def test_a_runtime_of_our_name_that_is_not_ours_stays(entry):
    text = f'{{"runtimes": {{"aisbx": {entry}}}}}'
    with pytest.raises(HostError, match="another runtime of the name aisbx"):
        added(text)

    assert taken(text) == text


@pytest.mark.parametrize(
    "text", ["{", "[]", "nonsense", '{"runtimes": []}', '{"a": 1, "a": 2}', "{} {}"]
)
def test_what_docker_does_not_take_is_refused(text):
    with pytest.raises(HostError):
        added(text)


# ---- files ---------------------------------------------------------------------------------------
def carried_out(etc, *, remove=False):
    found = docker.registration(PROGRAM, str(etc), remove=remove)
    for change in found.changes:
        apply(change)
    return [change.word() for change in found.changes]


def test_a_file_that_was_not_there_is_gone_again(tmp_path):
    written = carried_out(tmp_path)
    removed = carried_out(tmp_path, remove=True)

    assert (written, removed) == (["written"], ["removed"])
    assert list((tmp_path / "docker").iterdir()) == []


@pytest.mark.parametrize("text", ["{}", "{}\n", '{\n  "debug": true\n}\n'])
def test_a_file_that_was_there_is_as_it_was_and_its_backup_is_gone(tmp_path, text):
    path = tmp_path / "docker/daemon.json"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    carried_out(tmp_path)
    backup = tmp_path / "docker/daemon.json.before-aisbx"
    kept = (backup.read_text(), backup.stat().st_mode & 0o777)
    carried_out(tmp_path, remove=True)

    assert kept == (text, 0o600)
    assert path.read_text() == text
    assert not backup.exists()


def test_a_backup_stays_that_holds_something_else(tmp_path):
    path = tmp_path / "docker/daemon.json"
    path.parent.mkdir()
    path.write_text('{"debug": true}')
    carried_out(tmp_path)
    path.write_text(path.read_text().replace("true", "false"))
    carried_out(tmp_path, remove=True)

    assert path.read_text() == '{"debug": false}'
    assert (tmp_path / "docker/daemon.json.before-aisbx").read_text() == '{"debug": true}'
