"""`spec`, `features` and `--version`: what engines and people read of the runtime itself."""

from __future__ import annotations

import json

import pytest

from integration import host, needs
from integration.bundle import base_config


@pytest.fixture
def features(runtime):
    result = runtime("features").ok()

    assert result.err == ""
    return json.loads(result.out)


@needs.ids
def test_spec_writes_a_config_that_runs(runtime, new_bundle):
    bundle = new_bundle()
    runtime("spec", "--bundle", bundle.path).ok()
    with open(f"{bundle.path}/config.json") as text:
        bundle.config = json.load(text)
    bundle.config["process"]["terminal"] = False
    bundle.config["linux"]["cgroupsPath"] = bundle.cgroup

    assert runtime.run(bundle, "echo hi").out == "hi\n"


def test_spec_writes_into_the_working_directory(runtime, tmp_path):
    runtime("spec", cwd=tmp_path).ok()

    assert (tmp_path / "config.json").exists()


def test_spec_never_overwrites(runtime, tmp_path):
    (tmp_path / "config.json").write_text("mine")
    result = runtime("spec", cwd=tmp_path)

    assert result.code != 0
    assert (tmp_path / "config.json").read_text() == "mine"


def test_spec_has_the_same_top_as_that_of_runc(runtime, tmp_path):
    runtime("spec", cwd=tmp_path).ok()
    config = json.loads((tmp_path / "config.json").read_text())

    assert set(base_config()) <= set(config)
    assert config["process"]["args"] == ["sh"]
    assert config["root"]["path"] == "rootfs"
    assert {mount["destination"] for mount in base_config()["mounts"]} <= {
        mount["destination"] for mount in config["mounts"]
    }


@pytest.mark.parametrize("flags", [[], ["--rootless"]])
def test_spec_has_a_cgroup_namespace_where_there_is_v2_alone(runtime, tmp_path, flags):
    runtime("spec", *flags, cwd=tmp_path).ok()
    linux = json.loads((tmp_path / "config.json").read_text())["linux"]

    assert ("cgroup" in {entry["type"] for entry in linux["namespaces"]}) == host.unified()


def test_rootless_spec_has_a_user_namespace(runtime, tmp_path):
    runtime("spec", "--rootless", cwd=tmp_path).ok()
    linux = json.loads((tmp_path / "config.json").read_text())["linux"]

    assert "user" in {entry["type"] for entry in linux["namespaces"]}
    assert len(linux["uidMappings"]) == 1


def test_features_names_the_versions(features):
    # CRI-O: both must be strings that are not empty.
    assert features["ociVersionMin"].count(".") == 2
    assert features["ociVersionMax"].count(".") == 2


def test_features_names_the_six_hooks(features):
    assert set(features["hooks"]) == {
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    }


def test_features_names_the_mount_options(features):
    assert {"ro", "rw", "nosuid", "nodev", "noexec", "rbind", "rslave", "tmpcopyup"} <= set(
        features["mountOptions"],
    )


def test_features_names_the_namespaces(features):
    expected = {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"}

    assert expected <= set(features["linux"]["namespaces"])


def test_features_names_capabilities(features):
    assert {"CAP_CHOWN", "CAP_SYS_ADMIN"} <= set(features["linux"]["capabilities"])


def test_features_tells_of_cgroups_and_seccomp(features):
    assert features["linux"]["cgroup"]["v1"] is True
    assert features["linux"]["cgroup"]["v2"] is True
    assert features["linux"]["seccomp"]["enabled"] is True
    assert "SCMP_ACT_ERRNO" in features["linux"]["seccomp"]["actions"]


def test_recursive_read_only_is_advertised_only_when_it_works(runtime, bundle, features, tmp_path):
    # dockerd >= 25 turns every `-v x:y:ro` into rro when this is advertised.
    if "rro" not in features["mountOptions"]:
        pytest.skip("rro is not advertised")
    bundle.mount("/mnt", "bind", str(tmp_path), "rbind", "rro")

    assert "ro" in runtime.run(bundle, "grep ' /mnt ' /proc/self/mountinfo").ok().out.split()[5]


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_version_is_printed_as_docker_reads_it(runtime, flag):
    result = runtime(flag).ok()
    first, *others = result.lines

    assert result.err == ""
    assert " version " in first
    assert any(line.startswith("spec: ") for line in others)


@pytest.mark.parametrize("words", [["--help"], ["create", "--help"], ["help"]])
def test_help_is_printed(runtime, words):
    assert "create" in runtime(*words).ok().out


def test_checkpoint_help_fails_when_checkpoint_is_missing(runtime):
    # podman's and CRI-O's probe.
    result = runtime("checkpoint", "--help")

    assert result.code != 0 or "checkpoint" in result.out
