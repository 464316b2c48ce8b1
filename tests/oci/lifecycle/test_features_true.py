"""What `features` names is recognised: each element is put into a config.json that is planned."""

from __future__ import annotations

import json

import pytest

from aisbx_runtime.oci.lifecycle import features
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.seccomp import compiler, flags_of
from aisbx_runtime.oci.spec import mount_options, parse
from tests import hosts
from tests.strategies import base_config

DOCUMENT = features.document(hosts.UNIFIED, maps_ids=True)
LINUX = DOCUMENT["linux"]
SECCOMP = LINUX["seccomp"]


def planned(config):
    spec = parse.spec_of(json.dumps(config), "config.json")
    return build(spec, hosts.UNIFIED, "one", "/bundle", Options("/cache"))


def steps(plan):
    return [step.describe() for _, _, step in plan.numbered()]


@pytest.mark.parametrize("version", [DOCUMENT["ociVersionMin"], DOCUMENT["ociVersionMax"]])
def test_both_versions_are_accepted(version):
    assert planned({**base_config(), "ociVersion": version})


def test_the_least_version_is_not_above_the_greatest():
    least, greatest = (
        [int(part) for part in DOCUMENT[key].split(".")]
        for key in ("ociVersionMin", "ociVersionMax")
    )

    assert least <= greatest


# features.md and features-linux.md of 1.3.0, all properties. Names of annotations are free.
DEFINED = {
    "": {
        "ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations",
        "potentiallyUnsafeConfigAnnotations",
    },
    "linux": {
        "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "memoryPolicy",
        "intelRdt", "mountExtensions", "netDevices",
    },
    "linux.cgroup": {"v1", "v2", "systemd", "systemdUser", "rdma"},
    "linux.seccomp": {"enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"},
    "linux.apparmor": {"enabled"},
    "linux.selinux": {"enabled"},
    "linux.memoryPolicy": {"modes", "flags"},
    "linux.intelRdt": {"enabled", "schemata", "monitoring"},
    "linux.mountExtensions": {"idmap"},
    "linux.mountExtensions.idmap": {"enabled"},
    "linux.netDevices": {"enabled"},
}  # fmt: skip


def objects(value, path=""):
    if isinstance(value, dict) and path != "annotations":
        yield path, set(value)
        for key, one in value.items():
            yield from objects(one, f"{path}.{key}".lstrip("."))


def test_nothing_is_named_that_the_greatest_version_does_not_define():
    assert DOCUMENT["ociVersionMax"] == "1.3.0"
    for path, names in objects(DOCUMENT):
        assert names <= DEFINED[path]


def test_annotations_are_texts_with_names():
    assert all(key and isinstance(value, str) for key, value in DOCUMENT["annotations"].items())


def test_nothing_is_null():
    assert "null" not in json.dumps(DOCUMENT)


@pytest.mark.parametrize("kind", DOCUMENT["hooks"])
def test_a_hook_is_kept(kind):
    config = {**base_config(), "hooks": {kind: [{"path": "/a-hook"}]}}
    spec = parse.spec_of(json.dumps(config), "config.json")

    assert "/a-hook" in repr(spec.hooks)


@pytest.mark.parametrize("option", DOCUMENT["mountOptions"])
def test_a_mount_option_is_no_word_for_the_file_system(option):
    config = base_config()
    source = "none" if option == "tmpcopyup" else "/s"
    kind = "tmpfs" if option == "tmpcopyup" else "bind"
    mapping = [{"containerID": 0, "hostID": 1, "size": 1}]
    config["mounts"] = [
        {"destination": "/m", "type": kind, "source": source, "options": [option]}
        | ({"uidMappings": mapping, "gidMappings": mapping} if "idmap" in option else {})
    ]

    assert planned(config)
    assert mount_options.resolve((option,)).data == ()


@pytest.mark.parametrize("kind", LINUX["namespaces"])
def test_a_namespace_is_made(kind):
    config = base_config()
    config["linux"]["namespaces"] = [{"type": "mount"}]
    if kind != "mount":
        config["linux"]["namespaces"].append({"type": kind})
    if kind == "user":
        mapping = [{"containerID": 0, "hostID": 1, "size": 1}]
        config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}

    assert kind in planned(config).birth.new


@pytest.mark.parametrize("name", LINUX["capabilities"])
def test_a_capability_is_given(name):
    config = base_config()
    sets = ("bounding", "effective", "permitted", "inheritable", "ambient")
    config["process"]["capabilities"] = {one: [name] for one in sets}
    plan = planned(config)

    assert plan.warnings == ()
    assert f"keep in the bounding set: {name}" in steps(plan)


def filtered(**changes):
    config = base_config()
    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW"} | changes.pop("rule", {})
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "syscalls": [rule], **changes,
    }  # fmt: skip
    return parse.spec_of(json.dumps(config), "config.json").linux.seccomp


@pytest.mark.parametrize("action", SECCOMP["actions"])
def test_an_action_of_a_filter_is_known_to_parser_and_compiler(action):
    assert filtered(rule={"action": action}).syscalls[0].action in compiler.ACTIONS


@pytest.mark.parametrize("operator", SECCOMP["operators"])
def test_an_operator_is_known_to_parser_and_compiler(operator):
    arg = {"index": 0, "value": 1, "op": operator}

    assert filtered(rule={"args": [arg]}).syscalls[0].args[0].op in compiler.OPERATORS


@pytest.mark.parametrize("architecture", SECCOMP["archs"])
def test_an_architecture_is_known_to_parser_and_compiler(architecture):
    assert filtered(architectures=[architecture]).architectures[0] in compiler.ARCHITECTURES


@pytest.mark.parametrize("flag", [*SECCOMP["knownFlags"], *SECCOMP["supportedFlags"]])
def test_a_flag_of_a_filter_has_its_bit(flag):
    rule = {"action": "SCMP_ACT_NOTIFY"}

    assert flags_of(filtered(rule=rule, flags=[flag])) & ~flags_of(filtered(rule=rule, flags=[]))


@pytest.mark.parametrize("mode", LINUX["memoryPolicy"]["modes"])
def test_a_memory_policy_is_set(mode):
    config = base_config()
    nodes = {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
    config["linux"]["memoryPolicy"] = {"mode": mode, **nodes}

    assert any(
        line.startswith(f"set the memory policy to {mode}") for line in steps(planned(config))
    )


@pytest.mark.parametrize("flag", LINUX["memoryPolicy"]["flags"])
def test_a_flag_of_a_memory_policy_is_set(flag):
    config = base_config()
    config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}

    assert f"set the memory policy to MPOL_BIND, nodes 0, {flag}" in steps(planned(config))
