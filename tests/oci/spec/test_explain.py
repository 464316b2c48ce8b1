"""All errors of a config.json at once, and what is missing when they cannot be had."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import jsonschema
import pytest

from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.spec import explain
from tests.strategies import base_config

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(explain.__file__))))
CHECKOUT = os.path.dirname(CHECKOUT)


def explained(config):
    errors = explain.explain(json.dumps(config, indent=1), "config.json")
    return [error.what for error in errors]


def test_a_good_config_has_no_errors():
    assert explained(base_config()) == []


def test_all_errors_are_told_the_parsers_first():
    config = base_config()
    config["root"] = {"path": "rootfs", "readonly": "yes"}
    config["process"]["terminal"] = "no"
    config["mounts"] = [{"type": "proc"}]
    what = explained(config)

    assert what[0] == 'root.readonly: expected true or false, got "yes"'
    assert ["mounts[0]", "process.terminal"] == [
        text.partition(":")[0] for text in what[1:] if not text.startswith("mounts[0].dest")
    ]


def test_every_broken_rule_is_told():
    config = base_config()
    config["process"].update(cwd="x", args=[])
    config["linux"]["namespaces"] = []
    config["hostname"] = "h"

    assert explained(config) == [
        "hostname: needs a uts namespace",
        "process.args: required, and may not be empty",
    ]


def test_an_error_has_a_line():
    (error,) = explain.explain('{"ociVersion": "1.0.0",\n "root": {\n"path": 1}}', "c")

    assert error.where == "c:3"


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_what_is_no_object_has_one_error(text):
    assert len(explain.explain(text, "c")) == 1


def test_parts_of_other_platforms_are_nobodys_business():
    config = base_config()
    config["windows"] = config["zos"] = 1
    config["process"]["commandLine"] = 1

    assert explained(config) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("devices", [{"type": "c", "path": "/d", "major": 1, "minor": 1, "fileMode": 8576}]),
        ("rootfsPropagation", "rslave"),
        ("rootfsPropagation", ""),
        ("resources", {"pids": {}}),
        ("intelRdt", {"memBwSchema": ""}),
        ("seccomp", None),
    ],
)
def test_what_the_parser_accepts_on_purpose_is_no_error(key, value):
    config = base_config()
    config["linux"][key] = value

    assert explained(config) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("devices", [{"type": "c", "path": "/d", "major": 1, "minor": 1, "fileMode": "x"}]),
        ("rootfsPropagation", "x"),
        ("rootfsPropagation", {"x": 1}),
        ("resources", {"pids": []}),
        ("intelRdt", {"memBwSchema": "x"}),
    ],
)
def test_nothing_else_is_accepted_in_their_place(key, value):
    config = base_config()
    config["linux"][key] = value

    assert len(explained(config)) == 1
    assert explain.schema_errors(config)


def test_references_are_replaced_by_what_they_name():
    files = {
        "a": {"x": [{"$ref": "b#/defs/n", "ignored": 1}], "y": {"$ref": "#/x"}},
        "b": {"defs": {"n": {"$ref": "#/m"}}, "m": {"type": "integer"}},
    }

    assert explain.resolved(files["a"], "a", files) == {
        "x": [{"type": "integer"}],
        "y": [{"type": "integer"}],
    }


def test_a_damaged_schema_is_a_failure():
    with pytest.raises(Failure) as failure:
        explain.resolved({"$ref": "a#/x/y"}, "a", {"a": {"x": 1}})

    assert failure.value.what == "cannot explain: a schema is damaged: 1 is no object"


def test_an_installed_runtime_finds_schemas_and_jsonschema(tmp_path):
    # As `make install` lays them out, and as the runtime starts: without site-packages.
    for part in ("aisbx_runtime", "spec"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(os.path.join(CHECKOUT, part), tmp_path / part, ignore=ignored)
    packages = os.path.dirname(os.path.dirname(jsonschema.__file__))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import site; site.getsitepackages = lambda: sys.argv[2:]\n"
        "from aisbx_runtime.oci.spec import explain\n"
        "print(*[error.what for error in explain.explain('{}', 'c')], sep='|')"
    )
    command = [sys.executable, "-IS", "-c", script, str(tmp_path), packages]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert told == (
        "ociVersion: required, and may not be empty|"
        "the top level: 'ociVersion' is a required property"
    )


def test_a_missing_jsonschema_is_a_failure_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(Failure) as failure:
        explained(base_config())

    assert failure.value.what == "cannot explain: the Python package jsonschema is missing"
    assert failure.value.hint == "apt install python3-jsonschema, or pip install jsonschema"


def test_missing_schemas_are_a_failure_with_a_remedy(monkeypatch, tmp_path):
    module = tmp_path / "aisbx_runtime" / "oci" / "spec" / "explain.py"
    monkeypatch.setattr(explain, "__file__", str(module))
    with pytest.raises(Failure) as failure:
        explain.schema_directory()

    assert failure.value.what == (
        f"cannot explain: there are no schemas in {tmp_path}/spec/runtime-spec/schema"
    )
    assert failure.value.hint == "install aisbx-runtime again: `make install` copies them"
