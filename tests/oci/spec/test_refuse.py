"""How single values are refused: the place, the words, the line; and what reading costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aisbx_runtime.oci.errors import RESERVED_WORDS, SpecError
from aisbx_runtime.oci.spec import parse
from aisbx_runtime.oci.spec.node import shown, text_of_path
from tests.strategies import base_config, config_with


def refused(config):
    with pytest.raises(SpecError) as error:
        parse.spec_of(json.dumps(config), "config.json")
    for words in RESERVED_WORDS:
        # podman and docker turn these words into exit codes.
        assert words not in error.value.line().lower()
    return error.value


# ---- what is refused -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("ociVersion", None, "ociVersion: required, and may not be empty"),
        ("ociVersion", 1, "ociVersion: expected a string, got 1"),
        ("root", None, "root: required"),
        ("root", "rootfs", 'root: expected an object, got "rootfs"'),
        ("root.path", "", "root.path: required, and may not be empty"),
        (
            "root.path",
            "a\0b",
            "root.path: holds a NUL byte, which no path, argument or setting can hold",
        ),
        (
            "root.path",
            "\ud800",
            "root.path: holds half of a surrogate pair, which has no UTF-8 form",
        ),
        (
            "linux.devices",
            [{"type": "p"}],
            "linux.devices[0].path: required, and may not be empty",
        ),
        (
            "linux.resources.network",
            {"priorities": [{"priority": 1}]},
            "linux.resources.network.priorities[0].name: required, and may not be empty",
        ),
        ("root.readonly", 1, "root.readonly: expected true or false, got 1"),
        ("mounts", {}, "mounts: expected an array, got an object"),
        ("mounts", [1], "mounts[0]: expected an object, got 1"),
        ("mounts", [{}], "mounts[0].destination: required, and may not be empty"),
        ("annotations", {"": ""}, 'annotations[""]: may not be an empty name'),
        ("annotations", {"a": None}, "annotations.a: expected a string, got null"),
        ("annotations", {"a.b": 1}, 'annotations["a.b"]: expected a string, got 1'),
        (
            "annotations",
            {"a\0": "b"},
            (
                'annotations["a\\u0000"]: holds a NUL byte, which no path, '
                "argument or setting can hold"
            ),
        ),
        (
            "hooks",
            {"prestart": [{"path": "/h", "timeout": 0}]},
            "hooks.prestart[0].timeout: expected a number from 1 to 9223372036854775807, got 0",
        ),
        ("process.args", "sh", 'process.args: expected an array, got "sh"'),
        ("process.args", ["sh", None], "process.args[1]: expected a string, got null"),
        (
            "process.args",
            ["sh", "a\0"],
            "process.args[1]: holds a NUL byte, which no path, argument or setting can hold",
        ),
        (
            "process.env",
            ["A=\udfff"],
            "process.env[0]: holds half of a surrogate pair, which has no UTF-8 form",
        ),
        (
            "process.user.uid",
            -1,
            "process.user.uid: expected a number from 0 to 4294967295, got -1",
        ),
        ("process.user.uid", 1.0, "process.user.uid: expected an integer, got 1.0"),
        ("process.user.uid", True, "process.user.uid: expected an integer, got true"),
        (
            "process.user.uid",
            10**4000,
            f"process.user.uid: expected a number from 0 to 4294967295, got 1{'0' * 59}...",
        ),
        ("process.user.additionalGids", 5, "process.user.additionalGids: expected an array, got 5"),
        (
            "process.user.additionalGids",
            [0, -1],
            "process.user.additionalGids[1]: expected a number from 0 to 4294967295, got -1",
        ),
        (
            "process.user.additionalGids",
            [True],
            "process.user.additionalGids[0]: expected a number from 0 to 4294967295, got true",
        ),
        ("process.consoleSize", {"height": 1}, "process.consoleSize.width: required"),
        (
            "process.ioPriority",
            {"class": "x"},
            (
                "process.ioPriority.class: expected one of "
                'IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_RT, got "x"'
            ),
        ),
        ("linux.namespaces", [{}], "linux.namespaces[0].type: required, and may not be empty"),
        (
            "linux.rootfsPropagation",
            "x",
            (
                "linux.rootfsPropagation: expected one of private, "
                'rprivate, rshared, rslave, runbindable, shared, slave, unbindable, got "x"'
            ),
        ),
        (
            "linux.devices",
            [{"type": "c", "path": "/d", "minor": 0}],
            "linux.devices[0].major: required",
        ),
        (
            "linux.timeOffsets",
            {"monotonic": None},
            "linux.timeOffsets.monotonic: expected an object, got null",
        ),
        ("linux.resources.devices", [{}], "linux.resources.devices[0].allow: required"),
        (
            "linux.seccomp",
            {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["x"]},
            (
                "linux.seccomp.flags[0]: expected one of SECCOMP_FILTER_FLAG_LOG, "
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_TSYNC, "
                'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, got "x"'
            ),
        ),
        (
            "linux.seccomp",
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": []}]},
            "linux.seccomp.syscalls[0].names: required, and may not be empty",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_and_quoted(path, value, what):
    error = refused(config_with(path, value))

    assert what == error.what


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        ("root", None, 'write {"path": "rootfs"}'),
        ("process.args", "sh", 'write ["sh"]'),
        ("process.args", 1, ""),
        ("process.cwd", "", 'write "/"'),
    ],
)
def test_a_refusal_says_what_to_write_where_it_can(path, value, hint):
    assert hint == refused(config_with(path, value)).hint


def test_a_refusal_names_the_line():
    text = json.dumps(config_with("process.cwd", "relative"), indent=2)
    line = text[: text.index('"relative"')].count("\n") + 1
    with pytest.raises(SpecError) as error:
        parse.spec_of(text, "config.json")

    assert error.value.where == f"config.json:{line}"
    assert error.value.line() == (f"process.cwd: must be an absolute path (config.json:{line})")


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("", "invalid JSON: Expecting value", "c:1:1"),
        ('{\n"a": }', "invalid JSON: Expecting value", "c:2:6"),
        ('{"a": 1,}', "invalid JSON: ", "c:1:"),
        ("{} x", "invalid JSON: Extra data", "c:1:4"),
        ("[]", "the top level: expected an object, got an array", "c:1"),
        ("\n null", "the top level: expected an object, got null", "c:2"),
        ("[" * 10_000, "invalid JSON: nested too deeply", "c"),
        ('{"a": NaN}', "invalid JSON: NaN is not JSON", "c"),
        ("-Infinity", "invalid JSON: -Infinity is not JSON", "c"),
        ('{"a": ' + "1" * 5000 + "}", "invalid JSON: Exceeds the limit", "c"),
        ('{"a": "\n"}', "invalid JSON: Invalid control character", "c:1:"),
        ("\ufeff{}", "invalid JSON: ", "c"),
    ],
)
def test_what_is_no_json_object_is_refused(text, what, where):
    with pytest.raises(SpecError) as error:
        parse.spec_of(text, "c")

    assert error.value.what.startswith(what)
    assert error.value.where.startswith(where)


def test_bytes_that_are_text_are_text():
    assert parse.text_of("é".encode(), "c") == "é"


def test_a_byte_that_is_no_utf_8_has_a_line():
    with pytest.raises(SpecError) as error:
        parse.text_of(b"{\n\xff}", "config.json")

    assert error.value.what == "invalid JSON: byte 0xff is not UTF-8"
    assert error.value.where == "config.json:2"


# ---- how things are shown ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "the top level"),
        (("mounts", 3, "options"), "mounts[3].options"),
        (("linux", "sysctl", "a.b"), 'linux.sysctl["a.b"]'),
        (("é",), '["\\u00e9"]'),
        ((0, "a"), "[0].a"),
    ],
)
def test_a_path_is_written_as_people_write_it(path, text):
    assert text == text_of_path(path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ro", '"ro"'),
        (None, "null"),
        ([1], "an array"),
        ({}, "an object"),
        (0.5, "0.5"),
        (1e999, "inf"),
        ("a" * 58, f'"{"a" * 58}"'),
        ("a" * 59, f'"{"a" * 59}...'),
        ("é\n" * 99, '"' + "\\u00e9\\n" * 7 + "\\u0..."),
    ],
)
def test_a_value_is_shown_as_it_was_written(value, text):
    assert text == shown(value)


# ---- what it costs -------------------------------------------------------------------------------
def test_reading_loads_no_expensive_module():
    script = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1])\n"
        "from aisbx_runtime.oci.spec import parse\n"
        "parse.spec_of(sys.argv[2], 'config.json')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    root = parse.__file__.removesuffix("/aisbx_runtime/oci/spec/parse.py")
    command = [sys.executable, "-IS", "-c", script, root, json.dumps(base_config())]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert {"__future__", "_json", "errno"} >= {
        name for name in loaded if not name.startswith("aisbx_runtime")
    }
    assert "aisbx_runtime.oci.spec.locate" not in loaded
    assert "aisbx_runtime.oci.spec.explain" not in loaded
