"""`plan`: for people and, with a schema, for machines; no root, no side effect."""

from __future__ import annotations

import json
import os

import jsonschema
import pytest
from hypothesis import given

from aisbx_runtime.oci import cli
from aisbx_runtime.oci.errors import Failure, SpecError, UsageError
from aisbx_runtime.oci.flags import parse
from aisbx_runtime.oci.lifecycle import plan
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.plan.step import PHASES
from aisbx_runtime.oci.spec import parse as reader
from tests import hosts
from tests.strategies import base_config, valid_configs

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
with open(f"{ROOT}/spec/plan.schema.json", encoding="utf-8") as _file:
    SCHEMA = json.load(_file)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def built(config, host=hosts.UNIFIED):
    spec = reader.spec_of(json.dumps(config), "config.json")
    return build(spec, host, "one", "/bundle", Options("/cache"))


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("host", sorted(set(hosts.ALL) - {"no-cgroups"}))
def test_a_plan_is_what_its_schema_says(host):
    VALIDATOR.validate(plan.json_of(built(base_config(), hosts.ALL[host])))


@given(valid_configs)
def test_any_plan_is(config):
    try:
        made = built(config)
    except Failure:
        return
    VALIDATOR.validate(plan.json_of(made))


def test_the_schema_knows_every_phase_and_side():
    step = SCHEMA["$defs"]["step"]["properties"]

    assert [name for name, _ in PHASES] == step["phase"]["enum"]
    assert {side for _, side in PHASES} == set(step["side"]["enum"])


def test_the_text_has_a_head_for_each_phase_that_has_steps():
    made = built(base_config())
    heads = [line for line in plan.text_of(made).splitlines() if not line.startswith(" ")]

    assert [f"{phase.name} ({phase.side})" for phase in made.phases if phase.steps] == heads


def test_warnings_stand_at_the_end():
    config = base_config()
    config["process"]["capabilities"] = {"bounding": ["CAP_NEW"]}

    assert plan.text_of(built(config)).splitlines()[-1].startswith("warning: process.capabilities")


# ---- the verb ------------------------------------------------------------------------------------
def call(root, *words):
    options = parse(["--root", f"{root}/state"], cli.GLOBAL_FLAGS, interspersed=False)
    values = parse(list(words), cli.COMMANDS["plan"].flags, interspersed=True)
    return plan.main(cli.Call(options, values, "plan"))


@pytest.fixture
def bundle(tmp_path):
    config = base_config()
    # The machine that runs the tests need not have cgroups.
    config["linux"].pop("resources", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_both_formats_are_printed_and_nothing_is_made(bundle, capfd):
    assert 0 == call(bundle, f"{bundle}")
    assert capfd.readouterr().out.startswith("host (runtime)\n")
    assert 0 == call(bundle, "--format=json", f"{bundle}")

    VALIDATOR.validate(json.loads(capfd.readouterr().out))
    assert ["config.json"] == os.listdir(bundle)


def test_the_flags_are_those_of_create_that_change_its_plan(bundle, capfd):
    call(bundle, f"{bundle}")
    plain = capfd.readouterr().out
    call(bundle, "--no-pivot", "--no-new-keyring", f"{bundle}")
    changed = capfd.readouterr().out

    assert ("join a new session keyring" in plain, "join a new session keyring" in changed) == (
        True,
        False,
    )
    assert "pivot to the rootfs" in plain
    assert "pivot to the rootfs" not in changed
    with pytest.raises(UsageError):
        call(bundle, "--pid-file", "x", f"{bundle}")


def test_the_working_directory_is_the_bundle(bundle, capfd, monkeypatch):
    monkeypatch.chdir(bundle)

    assert 0 == call(bundle)
    assert f"{bundle}/rootfs" in capfd.readouterr().out


def test_another_format_is_refused(bundle):
    with pytest.raises(UsageError, match="--format xml"):
        call(bundle, "--format", "xml", f"{bundle}")


@pytest.mark.parametrize("place", ["none", "config.json"])
def test_a_missing_bundle_is_named(bundle, place):
    with pytest.raises(SpecError, match="bundle"):
        call(bundle, f"{bundle}/{place}")


def test_a_missing_config_is_told_with_the_way_to_one(tmp_path):
    with pytest.raises(SpecError) as caught:
        call(tmp_path, f"{tmp_path}")

    assert ("cannot read config.json", "ENOENT") == (caught.value.what, caught.value.why)
    assert "aisbx-runtime spec" in caught.value.hint
