"""The documents that are printed: spec, features, list, version."""

from __future__ import annotations

import json
import os

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT4

from aisbx_runtime.oci import cli
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.flags import parse
from aisbx_runtime.oci.kernel.namespaces import TYPES
from aisbx_runtime.oci.lifecycle import features, spec, validate
from aisbx_runtime.oci.lifecycle import list as listing
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.spec import explain
from aisbx_runtime.oci.spec import parse as reader
from tests import hosts

SCHEMAS = os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../../../spec/runtime-spec/schema")
)


# ---- spec ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("config", "host"),
    [
        (spec.default_config(unified=True), hosts.UNIFIED),
        (spec.default_config(unified=False), hosts.HYBRID),
        (spec.rootless_config(1000, 1000, unified=True), hosts.USER),
    ],
)
def test_what_spec_writes_is_valid_and_can_be_planned(config, host):
    read = reader.spec_of(json.dumps(config), "config.json")

    assert [] == explain.schema_errors(config)
    assert build(read, host, "one", "/bundle", Options("/cache")).warnings == ()


def test_the_rootless_one_maps_the_own_ids_and_has_no_limits():
    linux = spec.rootless_config(7, 8, unified=True)["linux"]

    assert {"type": "user"} in linux["namespaces"]
    assert (7, 8) == (linux["uidMappings"][0]["hostID"], linux["gidMappings"][0]["hostID"])
    assert "resources" not in linux


def call_spec(*words):
    options = parse([], cli.GLOBAL_FLAGS, interspersed=False)
    values = parse(list(words), cli.COMMANDS["spec"].flags, interspersed=True)
    return spec.main(cli.Call(options, values, "spec"))


def test_spec_writes_a_file_and_never_over_one(tmp_path):
    assert 0 == call_spec("--bundle", f"{tmp_path}")
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(Failure, match="exists already"):
        call_spec("--rootless", "-b", f"{tmp_path}")

    assert before == (tmp_path / "config.json").read_text()
    assert [] == validate.errors_of(before.encode())


def test_spec_needs_a_directory(tmp_path):
    with pytest.raises(Failure) as caught:
        call_spec("--bundle", f"{tmp_path}/none")

    assert "ENOENT" == caught.value.why


# ---- features ------------------------------------------------------------------------------------
def test_features_are_what_their_schema_says():
    def load(name):
        with open(f"{SCHEMAS}/{name}", encoding="utf-8") as file:
            return json.load(file)

    registry = Registry().with_resources(
        [(name, DRAFT4.create_resource(load(name))) for name in os.listdir(SCHEMAS)]
    )
    schema = load("features-schema.json")
    schema.pop("id", None)
    validator = jsonschema.Draft4Validator(schema, registry=registry)

    validator.validate(features.document(hosts.UNIFIED))


def test_features_name_the_memory_policies():
    found = features.document(hosts.UNIFIED)

    assert {"enabled": True} == found["linux"]["netDevices"]
    assert "MPOL_BIND" in found["linux"]["memoryPolicy"]["modes"]
    assert "MPOL_F_STATIC_NODES" in found["linux"]["memoryPolicy"]["flags"]


def test_features_name_what_works_here():
    found = features.document(hosts.host(last_capability=5))
    linux = found["linux"]

    assert sorted(TYPES) == linux["namespaces"]
    assert ["CAP_CHOWN", "CAP_KILL"] == [linux["capabilities"][0], linux["capabilities"][-1]]
    assert {"rbind", "rro", "tmpcopyup"} <= set(found["mountOptions"])
    assert {"remount", "copy-symlink", "src-nofollow"} <= set(found["mountOptions"])


@pytest.mark.parametrize("maps_ids", [False, True])
def test_features_name_id_mapped_mounts_only_where_they_work(maps_ids):
    # Engines rely on it: containerd refuses user namespaces without, and uses them with it.
    found = features.document(hosts.UNIFIED, maps_ids=maps_ids)

    assert {"enabled": maps_ids} == found["linux"]["mountExtensions"]["idmap"]
    assert maps_ids is ({"idmap", "ridmap"} <= set(found["mountOptions"]))


def test_features_name_the_flags_of_seccomp_that_this_kernel_knows(monkeypatch, capfd):
    # As on Linux 5.18, without SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.
    monkeypatch.setattr(features, "knows_flags", lambda flags: not flags & 32)
    features.main(None)
    seccomp = json.loads(capfd.readouterr().out)["linux"]["seccomp"]
    newest = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"

    assert newest in seccomp["knownFlags"]
    assert sorted({*seccomp["knownFlags"]} - {newest}) == seccomp["supportedFlags"]


# ---- list, validate ------------------------------------------------------------------------------
def test_a_table_is_as_wide_as_its_words():
    rows = [["ID", "PID"], ["a-long-id", "7"], ["b", ""]]

    assert "ID         PID\na-long-id  7\nb\n" == listing.table(rows)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "config.json"),
        (b"\xff", "config.json"),
        (b"{}", "ociVersion"),
        (b'{"ociVersion": "9.0.0", "root": {"path": "r"}}', "ociVersion"),
    ],
)
def test_validate_reports_errors_and_no_traceback(data, said):
    errors = validate.errors_of(data)

    assert any(said in f"{error.where} {error.what}" for error in errors)
