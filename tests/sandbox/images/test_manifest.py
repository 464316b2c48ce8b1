from __future__ import annotations

import json

import pytest

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images import manifest

DIGEST = "sha256:" + "ab" * 32
LAYER = {"mediaType": f"{manifest.LAYER}+gzip", "digest": DIGEST, "size": 10}


def image(**changes):
    return {
        "schemaVersion": 2,
        "config": {"mediaType": manifest.CONFIG, "digest": DIGEST, "size": 20},
        "layers": [LAYER],
    } | changes


def config(**changes):
    return {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    } | changes


def test_a_manifest_is_read():
    read = manifest.manifest_of(json.dumps(image(annotations={"a": "b"})).encode(), "here")

    assert (DIGEST, 20) == (read.config.digest, read.config.size)
    assert [(DIGEST, 10)] == [(layer.digest, layer.size) for layer in read.layers]
    assert {"a": "b"} == read.annotations


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"mediaType": manifest.INDEX}, "mediaType"),
        ({"config": None}, "config"),
        (
            {"config": {"mediaType": "application/x", "digest": DIGEST, "size": 2}},
            "config.mediaType",
        ),
        (
            {"config": {"mediaType": manifest.CONFIG, "digest": DIGEST, "size": 1 << 30}},
            "config.size",
        ),
        ({"layers": {}}, "layers"),
        ({"layers": [LAYER | {"digest": "sha256:../../x"}]}, r"layers\[0\].digest"),
        ({"layers": [LAYER | {"digest": "md5:" + "a" * 32}]}, r"layers\[0\].digest"),
        ({"layers": [LAYER | {"size": -1}]}, r"layers\[0\].size"),
        ({"layers": [LAYER | {"mediaType": "application/x"}]}, r"layers\[0\].mediaType"),
        (
            {"layers": [LAYER | {"mediaType": f"{manifest.LAYER}+gzip+encrypted"}]},
            r"layers\[0\].mediaType",
        ),
        ({"layers": [LAYER] * (manifest.MOST_LAYERS + 1)}, "layers"),
        ({"annotations": {"a": 1}}, "annotations.a"),
    ],
)
def test_a_wrong_manifest_is_refused_by_its_field(changes, names):
    with pytest.raises(InputError, match=f"^{names}:"):
        manifest.manifest_of(json.dumps(image(**changes)).encode(), "here")


def test_a_config_is_read():
    inner = {
        "User": "1:2",
        "Env": ["A=b=c"],
        "Entrypoint": ["/x"],
        "Cmd": ["y"],
        "Volumes": {"/v": {}, "/a": {}},
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"a": "b"},
        "StopSignal": "SIGINT",
        "WorkingDir": "/w",
    }
    read = manifest.config_of(json.dumps(config(config=inner, variant="v2")).encode(), "here")

    assert "linux/amd64/v2" == str(read.platform)
    assert ("1:2", ("A=b=c",), ("/x",), ("y",)) == (read.user, read.env, read.entrypoint, read.cmd)
    assert (("/a", "/v"), ("80/tcp",)) == (read.volumes, read.exposed_ports)
    assert ({"a": "b"}, "SIGINT", "/w") == (read.labels, read.stop_signal, read.working_dir)


@pytest.mark.parametrize("inner", [None, {}, {"Env": None, "Cmd": None, "Labels": None}])
def test_what_a_config_leaves_out_is_empty(inner):
    read = manifest.config_of(json.dumps(config(config=inner)).encode(), "here")

    assert ((), (), "", {}) == (read.env, read.cmd, read.user, read.labels)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"os": None}, "os"),
        ({"architecture": 1}, "architecture"),
        ({"rootfs": None}, "rootfs"),
        ({"rootfs": {"type": "squashfs", "diff_ids": []}}, "rootfs.type"),
        ({"rootfs": {"type": "layers", "diff_ids": ["x"]}}, r"rootfs.diff_ids\[0\]"),
        ({"config": []}, "config"),
        ({"config": {"Env": ["A"]}}, r"config.Env\[0\]"),
        ({"config": {"Env": ["=A"]}}, r"config.Env\[0\]"),
        ({"config": {"Env": ["A=\0"]}}, r"config.Env\[0\]"),
        ({"config": {"Cmd": "sh"}}, "config.Cmd"),
        ({"config": {"User": 0}}, "config.User"),
        ({"config": {"Labels": {"a": {}}}}, "config.Labels.a"),
        ({"config": {"Volumes": ["/x"]}}, "config.Volumes"),
        ({"history": {}}, "history"),
    ],
)
def test_a_wrong_config_is_refused_by_its_field(changes, names):
    with pytest.raises(InputError, match=f"^{names}:"):
        manifest.config_of(json.dumps(config(**changes)).encode(), "here")
