"""The config of an image as config.json: image-spec's conversion.md, sentence by sentence."""

from __future__ import annotations

import json
import os

import jsonschema
import pytest
import referencing

from aisbx_runtime.sandbox import bundle
from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images.base import seccomp
from aisbx_runtime.sandbox.images.conversion import converted, stop_signal_of
from aisbx_runtime.sandbox.images.document import parsed
from aisbx_runtime.sandbox.options import SHAPE, Request, defaults
from tests.schema import ROOT

SCHEMAS = f"{ROOT}/spec/runtime-spec/schema"


@pytest.fixture
def rootfs(tmp_path):
    for name in ("rootfs/etc", "rootfs/data", "rootfs/run/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "rootfs/etc/passwd").write_text("guest:x:1000:1001::/:\n")
    return tmp_path / "rootfs"


@pytest.fixture
def convert(rootfs):
    def of(config=None, **outer):
        document = {"os": "linux", "architecture": "amd64", **outer}
        if config is not None:
            document["config"] = config
        return converted(parsed(json.dumps(document).encode(), "config"), str(rootfs))

    return of


@pytest.fixture
def bundled(convert, rootfs):
    """Return the config.json of a sandbox."""

    def of(config=None, command=(), shape=None, **values):
        found = convert(config)
        base = bundle.Base(
            rootfs=str(rootfs), key="k", reference="r", digest="d", config=found.config, seccomp="",
            entrypoint=found.entrypoint, cmd=found.cmd, volumes=found.volumes,
        )  # fmt: skip
        request = Request("r", list(command), {**defaults(SHAPE), **values})
        return bundle.config_of(base, request, "/store/containers/n", "n", None, lasting=False)

    return of


def test_the_result_is_a_config_json(bundled):
    config = bundled(
        {"Env": ["A=1"], "Cmd": ["sh"], "User": "guest", "Volumes": {"/data": {}}},
        memory="1G", cpus="1.5", pids="7",
    )  # fmt: skip
    registry = referencing.Registry()
    for name in os.listdir(SCHEMAS):
        with open(f"{SCHEMAS}/{name}", encoding="utf-8") as file:
            resource = referencing.Resource.from_contents(
                json.load(file), default_specification=referencing.jsonschema.DRAFT4
            )
        registry = registry.with_resource(name, resource)
    schema = registry.contents("config-schema.json")
    text = bundle.config_text(config, seccomp(ROOT))
    jsonschema.Draft4Validator(schema, registry=registry).validate(json.loads(text))


def test_variables_are_kept_word_for_word(bundled):
    asked = ["A=1", "PATH=/x", "LD_PRELOAD=/evil.so", "B="]

    assert bundled({"Env": asked, "Cmd": ["x"]})["process"]["env"] == asked


def test_a_path_is_added_where_the_image_has_none(bundled):
    assert bundled({"Env": ["A=1"], "Cmd": ["x"]})["process"]["env"][1].startswith("PATH=/usr")


@pytest.mark.parametrize(
    ("config", "command", "values", "args"),
    [
        ({"Entrypoint": ["e", "1"], "Cmd": ["c"]}, (), {}, ["e", "1", "c"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, ("x", "y"), {}, ["e", "x", "y"]),
        ({"Cmd": ["c", "d"]}, (), {}, ["c", "d"]),
        ({"Cmd": ["c", "d"]}, ("x",), {}, ["x"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, (), {"entrypoint": "z"}, ["z"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, ("x",), {"entrypoint": ""}, ["x"]),
    ],
)
def test_args_are_entrypoint_and_cmd(bundled, config, command, values, args):
    assert args == bundled(config, command, **values)["process"]["args"]


def test_an_image_without_a_program_runs_a_shell(bundled):
    assert bundled({})["process"]["args"] == ["sh"]


def test_an_image_without_config_is_one_without_wishes(bundled):
    assert bundled(None, ("x",))["process"]["cwd"] == "/"


@pytest.mark.parametrize(("asked", "cwd"), [("/w", "/w"), ("w/x", "/w/x"), ("", "/")])
def test_the_working_directory_is_absolute(bundled, asked, cwd):
    assert cwd == bundled({"WorkingDir": asked, "Cmd": ["x"]})["process"]["cwd"]


def test_a_user_holds_no_capabilities(bundled):
    process = bundled({"User": "guest", "Cmd": ["x"]})["process"]

    assert process["user"] == {"uid": 1000, "gid": 1001}
    assert process["capabilities"]["effective"] == []
    assert process["capabilities"]["permitted"] == []


def test_a_user_who_is_not_there_is_an_error(convert):
    with pytest.raises(InputError, match="no user 'nobody'"):
        convert({"User": "nobody"})


def test_fields_become_annotations(convert):
    found = convert(
        {"StopSignal": "SIGUSR1", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}},
        author="me", created="2026-01-01T00:00:00Z", variant="v8", **{"os.version": "1"},
    ).config  # fmt: skip

    assert found["annotations"] == {
        "org.opencontainers.image.os": "linux",
        "org.opencontainers.image.architecture": "amd64",
        "org.opencontainers.image.variant": "v8",
        "org.opencontainers.image.os.version": "1",
        "org.opencontainers.image.author": "me",
        "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
        "org.opencontainers.image.stopSignal": "SIGUSR1",
        "org.opencontainers.image.exposedPorts": "80/tcp,53/udp",
    }
    assert stop_signal_of(found) == "SIGUSR1"


def test_a_label_goes_before_a_field(convert):
    found = convert({"Labels": {"org.opencontainers.image.author": "label"}}, author="field")

    assert found.config["annotations"]["org.opencontainers.image.author"] == "label"


def test_a_label_that_a_runtime_may_obey_is_left_out_and_told(convert):
    labels = {
        "maintainer": "m",
        "org.opencontainers.image.title": "t",
        "run.oci.hooks.stdout": "/etc/cron.d/x",
        "run.oci.keep_original_groups": "1",
        "org.systemd.property.User": "'root'",
        "org.criu.config": "/evil",
        "dev.aisbx.snapshot": "x",
        "": "empty",
    }
    found = convert({"Labels": labels})
    annotations = found.config["annotations"]

    assert {name for name in annotations if name in labels} == {
        "maintainer", "org.opencontainers.image.title",
    }  # fmt: skip
    assert {*labels} - {*annotations} == {*found.left_out}


def test_a_volume_is_an_overlay_of_its_own(bundled, rootfs):
    (rootfs / "var").mkdir()
    (rootfs / "var/run").symlink_to("/run")
    mounts = bundled({"Cmd": ["x"], "Volumes": {"/data/": {}, "/var/run/inner": {}, "/new": {}}})[
        "mounts"
    ]
    lower = {
        mount["destination"]: mount["options"][1] for mount in mounts if mount["type"] == "overlay"
    }

    assert lower == {
        "/": f"lowerdir={rootfs}",
        "/data": f"lowerdir={rootfs}/data",
        "/new": "lowerdir=/store/containers/n/volumes/1/empty",
        "/var/run/inner": f"lowerdir={rootfs}/run/inner",
    }


def test_a_volume_does_not_lead_out(bundled, rootfs):
    (rootfs / "out").symlink_to("../../../../../../../etc")
    mounts = bundled({"Cmd": ["x"], "Volumes": {"/out": {}}})["mounts"]

    assert [one["options"][1] for one in mounts if one["destination"] == "/out"] == [
        f"lowerdir={rootfs}/etc"
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"Env": "A=1"}, {"Env": ["A"]}, {"Env": ["=1"]}, {"Env": ["A=\0"]}, {"Env": [1]},
        {"Cmd": "sh"}, {"Cmd": [["sh"]]}, {"Entrypoint": {"a": 1}}, {"User": 5}, {"User": "a\0"},
        {"WorkingDir": ["/"]}, {"WorkingDir": "/" + "x" * 5000}, {"Labels": ["a"]},
        {"Labels": {"a": 1}}, {"Volumes": ["/a"]}, {"Volumes": {"../etc": {}}},
        {"Volumes": {"/a/../../b": {}}}, {"Volumes": {"/": {}}}, {"Volumes": {"/etc/passwd": {}}},
        {"Volumes": {f"/{number}": {} for number in range(100)}}, {"StopSignal": 9},
        {"ExposedPorts": "80"}, [], "x",
    ],
)  # fmt: skip
def test_a_config_that_is_wrong_is_refused(convert, config):
    with pytest.raises(InputError):
        convert(config)


def test_nothing_else_of_config_json_comes_from_the_image(convert):
    plain = convert({}).config
    asked = {
        "Hostname": "h", "Domainname": "d", "Privileged": True, "Healthcheck": {"Test": ["x"]},
        "hooks": {}, "linux": {"namespaces": []}, "mounts": [], "OnBuild": ["x"], "Shell": ["x"],
    }  # fmt: skip

    assert plain == convert(asked, hooks={"prestart": []}, linux={}, mounts=[]).config
