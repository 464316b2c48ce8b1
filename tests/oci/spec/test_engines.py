"""What engines really write is accepted.

data/: `runc spec` 1.1.5, podman 4.3.1 and buildah 1.28.2 (caught by a runtime that copies its
bundle), `ctr oci spec` of containerd 1.6.20 with the arguments that `ctr run` adds, ids replaced;
docker.json and the exec-* and update-* files are written after documented ones; everything.json is
nobody's, it has every field there is.
"""

from __future__ import annotations

import json
import os

import pytest

from aisbx_runtime.oci.spec import explain, parse
from aisbx_runtime.oci.spec.model import Pids, User

DATA = os.path.join(os.path.dirname(__file__), "data")


def read(name):
    with open(os.path.join(DATA, name), "rb") as file:
        return parse.text_of(file.read(), name)


def names(*prefixes):
    return sorted(name for name in os.listdir(DATA) if name.startswith(prefixes))


@pytest.mark.parametrize("name", names("runc", "podman", "buildah", "containerd", "docker"))
def test_a_config_of_an_engine_is_accepted(name):
    spec = parse.spec_of(read(name), name)

    assert spec.process
    assert [] == explain.explain(read(name), name)


@pytest.mark.parametrize("name", names("exec"))
def test_a_process_of_an_engine_is_accepted(name):
    assert parse.process_of(read(name), name).args


def test_limits_of_an_engine_are_accepted():
    name = "update-podman-resources.json"

    assert parse.resources_of(read(name), name).pids == Pids()


def test_podman_sends_modes_with_a_file_type():
    (fuse,) = parse.spec_of(read("podman-limits.json"), "c").linux.devices

    assert fuse.file_mode == 0o20600


def test_podman_sends_a_umask():
    assert parse.spec_of(read("podman-plain.json"), "c").process.user == User(umask=0o22)


def test_a_newer_minor_version_is_accepted():
    config = json.loads(read("docker.json"))
    config["ociVersion"] = "1.7.0"

    assert parse.spec_of(json.dumps(config), "c").oci_version == "1.7.0"
