"""`explain`: what is said is true of the plan, and has the form that the schema promises."""

from __future__ import annotations

import json
import os

import jsonschema
import pytest
from hypothesis import given

from aisbx_runtime.oci import cli
from aisbx_runtime.oci.errors import Failure, UsageError
from aisbx_runtime.oci.explain.document import explain, json_of, text_of
from aisbx_runtime.oci.flags import parse
from aisbx_runtime.oci.lifecycle import explain as verb
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.spec import parse as reader
from tests import hosts
from tests.strategies import base_config, config_with, valid_configs

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
with open(f"{ROOT}/spec/explain.schema.json", encoding="utf-8") as _file:
    SCHEMA = json.load(_file)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def explained(config, host=hosts.UNIFIED):
    spec = reader.spec_of(json.dumps(config), "config.json")
    plan = build(spec, host, "one", "/bundle", Options("/cache"))
    return explain(spec, spec.process, host, plan, "/bundle")


def document(config, host=hosts.UNIFIED):
    return json_of(explained(config, host))


def warnings(config, host=hosts.UNIFIED):
    return {one["code"]: one for one in document(config, host)["warnings"]}


def with_capabilities(*names, uid=0, sets=("bounding", "effective", "permitted"), nnp=False):
    config = base_config()
    config["process"]["user"] = {"uid": uid, "gid": uid}
    config["process"]["capabilities"] = {one: list(names) for one in sets}
    config["process"]["noNewPrivileges"] = nnp
    return config


def with_bind(source, *options):
    return config_with(
        "mounts",
        [{"destination": "/x", "type": "bind", "source": source, "options": ["bind", *options]}],
    )


def with_user_namespace(config):
    config["linux"]["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    return config


# ---- form ----------------------------------------------------------------------------------------
def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@given(valid_configs)
def test_any_explanation_is_what_its_schema_says(config):
    try:
        found = explained(config)
    except Failure:
        return
    VALIDATOR.validate(json_of(found))
    assert text_of(found, coloured=False).replace("\n", "").isprintable()


@pytest.mark.parametrize("host", sorted(set(hosts.ALL) - {"no-cgroups"}))
def test_it_is_said_for_every_host(host):
    VALIDATOR.validate(document(base_config(), hosts.ALL[host]))


def test_warnings_are_sorted_by_weight():
    found = document(with_capabilities("CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_SYS_MODULE"))
    weights = [one["weight"] for one in found["warnings"]]

    assert sorted(weights, reverse=True) == weights


def test_colours_change_nothing_but_colours():
    found = explained(with_capabilities("CAP_SYS_ADMIN"))
    coloured = text_of(found, coloured=True)
    for code in ("1", "31", "33", "0"):
        coloured = coloured.replace(f"\033[{code}m", "")

    assert text_of(found, coloured=False) == coloured


# ---- capabilities: what the program has once it runs ---------------------------------------------
def test_root_gets_the_whole_bounding_set_at_execve():
    found = document(with_capabilities("CAP_KILL", "CAP_SYS_ADMIN", sets=("bounding",)))

    assert ["CAP_KILL", "CAP_SYS_ADMIN"] == found["capabilities"]["held"]


def test_with_no_new_privs_root_keeps_to_what_it_was_given():
    config = with_capabilities("CAP_KILL", "CAP_SYS_ADMIN", nnp=True)
    config["process"]["capabilities"]["permitted"] = ["CAP_KILL"]

    assert ["CAP_KILL"] == document(config)["capabilities"]["held"]


def test_a_plain_user_keeps_only_the_ambient_ones_but_could_get_the_rest():
    found = document(with_capabilities("CAP_KILL", "CAP_SYS_ADMIN", uid=1000))["capabilities"]

    assert ([], ["CAP_KILL", "CAP_SYS_ADMIN"]) == (found["held"], found["obtainable"])
    every = ("bounding", "effective", "permitted", "inheritable", "ambient")
    found = document(with_capabilities("CAP_KILL", uid=1000, sets=every, nnp=True))["capabilities"]
    assert (["CAP_KILL"], []) == (found["held"], found["obtainable"])


def test_sys_admin_without_a_user_namespace_is_critical():
    found = warnings(with_capabilities("CAP_SYS_ADMIN"))

    assert "critical" == found["sys-admin-without-user-namespace"]["severity"]


def test_in_a_user_namespace_capabilities_are_no_warning():
    config = with_user_namespace(with_capabilities("CAP_SYS_ADMIN", "CAP_SYS_MODULE"))

    assert not {"sys-admin-without-user-namespace", "cap-sys-module"} & set(warnings(config))
    assert "sys-admin-without-user-namespace" not in warnings(
        with_capabilities("CAP_SYS_ADMIN"), hosts.ROOTLESS
    )


# ---- user ----------------------------------------------------------------------------------------
def test_the_user_outside_is_computed_from_the_mapping():
    config = with_user_namespace(with_capabilities(uid=33))

    found = document(config)["user"]

    assert ("mapped", 100033) == (found["outside"], found["outside_uid"])
    config["process"]["user"]["uid"] = 70000
    assert document(config)["user"]["outside_uid"] is None


def test_root_without_a_user_namespace_is_root_of_the_host():
    assert "root-is-host-root" in warnings(base_config())
    assert "root-is-host-root" not in warnings(with_user_namespace(base_config()))
    assert "root-is-host-root" not in warnings(base_config(), hosts.ROOTLESS)


# ---- files ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        ("/run/docker.sock", ["ro"], "host-socket"),
        ("/var/run/podman/podman.sock", [], "host-socket"),
        ("/", ["ro"], "host-path"),
        ("/etc", [], "host-path"),
        ("/etc/shadow", ["ro"], "host-path"),
        ("/home/somebody/.ssh", ["ro"], "host-path"),
        ("/srv/data", [], "host-path-writable"),
        ("/etc/hosts", ["ro"], None),
        ("/srv/data", ["ro"], None),
        ("/etcetera", ["ro"], None),
    ],
)
def test_what_is_bound_is_judged(source, options, code):
    found = set(warnings(with_bind(source, *options))) & {
        "host-socket", "host-path", "host-path-writable",
    }  # fmt: skip

    assert ({code} if code else set()) == found


def test_what_lies_below_a_read_only_tree_stays_writable_unless_rro():
    def below(*options):
        return document(with_bind("/srv", *options))["files"]["mounts"][0]["writable_below"]

    assert [True, False, False] == [below("rbind", "ro"), below("rbind", "rro"), below("ro")]


def test_a_mount_with_mapped_ids_is_told():
    found = explained(with_user_namespace(with_bind("/srv", "idmap")))

    assert "/srv of the host, writable, with the owners of its files mapped" in " ".join(
        text_of(found, coloured=False).split()
    )


def test_paths_and_their_state_are_named():
    config = base_config()
    config["root"]["readonly"] = True
    config["linux"] |= {"maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]}
    found = document(config)["files"]

    assert {"path": "/bundle/rootfs", "writable": False} == found["root"]
    assert (["/proc/kcore"], ["/proc/sys"]) == (found["masked"], found["read_only"])


# ---- devices, limits, hooks, network -------------------------------------------------------------
@pytest.mark.parametrize("host", [hosts.UNIFIED, hosts.HYBRID], ids=["unified", "hybrid"])
def test_devices_are_free_until_rules_deny_them(host):
    deny = {"devices": [{"allow": False, "access": "rwm"}]}

    assert "every-device" in warnings(base_config(), host)
    assert "every-device" not in warnings(config_with("linux.resources", deny), host)
    allow = {"devices": [{"allow": True, "access": "rwm"}]}
    assert "every-device" in warnings(config_with("linux.resources", allow), host)
    both = {"devices": [*allow["devices"], *deny["devices"]]}
    assert "every-device" not in warnings(config_with("linux.resources", both), host)


def test_a_disk_is_named():
    disk = {"type": "b", "path": "/dev/sda", "major": 8, "minor": 0}

    assert "disk" in warnings(config_with("linux.devices", [disk]))["device"]["what"]


def test_limits_have_units_for_people():
    limits = {
        "memory": {"limit": 512 << 20, "swap": 768 << 20},
        "cpu": {"quota": 150000, "period": 100000, "shares": 2048},
        "pids": {"limit": 100},
    }
    config = config_with("linux.resources", limits)

    expected = {
        "memory": "512 MiB",
        "swap": "256 MiB",
        "processors": "1.5 of them at a time",
        "share of processor time": "2 times the usual",
        "processes and threads": "100",
    }
    assert expected == document(config)["limits"]["limits"]
    assert not {"no-memory-limit", "no-pids-limit"} & set(warnings(config))
    assert {"no-memory-limit", "no-pids-limit"} <= set(warnings(base_config()))


def test_for_a_plain_user_limits_are_a_best_effort():
    enforced = [
        document(base_config(), host)["limits"]["enforcement"]
        for host in (hosts.UNIFIED, hosts.ROOTLESS)
    ]

    assert ["real", "best effort"] == enforced


def test_hooks_of_the_host_are_told_from_those_inside():
    hook = [{"path": "/bin/hook"}]
    kinds = {"prestart": hook, "createContainer": hook, "startContainer": hook}
    found = document({**base_config(), "hooks": kinds})["hooks"]["hooks"]

    assert ["host", "namespaces", "container"] == [one["runs"] for one in found]


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_a_namespace_of_the_host_is_a_warning(kind):
    config = base_config()
    config["linux"]["namespaces"] = [
        one for one in config["linux"]["namespaces"] if one["type"] != kind
    ]

    assert "shared" == document(config)["namespaces"][kind]["state"]
    assert f"host-{kind}" in warnings(config)
    assert f"host-{kind}" not in warnings(base_config())


def test_a_joined_namespace_is_neither_new_nor_the_hosts():
    config = base_config()
    config["linux"]["namespaces"][1]["path"] = "/run/netns/x"
    found = document(config)

    assert ("joined", "/run/netns/x") == (found["network"]["kind"], found["network"]["path"])
    assert "host-network" not in warnings(config)


def test_a_word_of_the_config_cannot_steer_the_terminal():
    config = config_with("process.args", ["\033[2Jx\nSystem calls"])

    assert "\033" not in text_of(explained(config), coloured=False)
    assert "\nSystem calls\n  - is" not in text_of(explained(config), coloured=False)


# ---- the verb ------------------------------------------------------------------------------------
def call(root, *words):
    options = parse(["--root", f"{root}/state"], cli.GLOBAL_FLAGS, interspersed=False)
    values = parse(list(words), cli.COMMANDS["explain"].flags, interspersed=True)
    return verb.main(cli.Call(options, values, "explain"))


def test_both_formats_are_printed_and_nothing_is_made(tmp_path, capfd):
    (tmp_path / "config.json").write_text(json.dumps(base_config()))

    assert 0 == call(tmp_path, f"{tmp_path}")
    assert capfd.readouterr().out.startswith("Program\n")
    assert 0 == call(tmp_path, "--format=json", f"{tmp_path}")
    VALIDATOR.validate(json.loads(capfd.readouterr().out))
    assert ["config.json"] == os.listdir(tmp_path)


def test_another_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--format xml"):
        call(tmp_path, "--format", "xml", f"{tmp_path}")
