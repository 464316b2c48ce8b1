"""containerd with a configuration of its caller's: mounts whose ids are mapped."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from integration.differences import known_of_runc
from integration.runtime import call


@pytest.fixture
def mapped(bundle, scratch):
    """A bundle with ids of its own, and a mount that has them too."""
    source = f"{scratch}/source-of-{bundle.id}"
    os.mkdir(source, 0o700)
    with open(f"{source}/file", "w") as out:
        out.write("text")
    bundle.user_namespace().mount("/mnt", "bind", source, "rbind", "rw")
    mapping = bundle.config["linux"]["uidMappings"]
    bundle.config["mounts"][-1].update(uidMappings=mapping, gidMappings=mapping)
    bundle.config["root"]["path"] = bundle.rootfs
    bundle.source = source
    yield bundle
    shutil.rmtree(source)


def run(ctr, bundle, script):
    """Run a container of this configuration; ctr adds nothing to it."""
    bundle.script(script).save()
    words = ["run", *ctr.runtime, "--rm", "--config", f"{bundle.path}/config.json", ctr.name()]
    return call([*ctr.prefix, *words])


def test_an_id_mapped_mount_belongs_to_the_root_of_the_container(ctr, runtime, mapped):
    # containerd 2 asks the runtime's `features` before it lets such a mount pass.
    features = runtime("features")
    known = json.loads(features.out)["linux"] if features.code == 0 else {}
    lacks = not known.get("mountExtensions", {}).get("idmap", {}).get("enabled")
    known_of_runc(runtime, "1.1 has no id mapped mounts", seen=lacks)
    result = run(ctr, mapped, "stat -c '%u %g' /mnt /mnt/file; cat /mnt/file; echo new >/mnt/new")

    assert result.ok().out == "0 0\n0 0\ntext"
    assert os.stat(f"{mapped.source}/new").st_uid == 0


def test_without_the_mapping_it_belongs_to_nobody(ctr, mapped):
    for name in ("uidMappings", "gidMappings"):
        del mapped.config["mounts"][-1][name]

    assert run(ctr, mapped, "stat -c '%u %g' /mnt").ok().out == "65534 65534\n"
