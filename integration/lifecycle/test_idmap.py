"""Id mapped mounts, by what the kernel shows inside and on the disk.

runc 1.1 does not know them: it ignores the option word.
"""

from __future__ import annotations

import json
import os
import shutil

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.mountinfo import last_at

pytestmark = pytest.mark.skipif(
    host.lacks_namespace("--user") != "",
    reason="no user namespaces here",
)


@pytest.fixture(params=["tmpfs", "disk"])
def source(request, scratch, tmp_path):
    """A directory that every user may write, with a file of root's."""
    if host.lacks_ids(6100):
        pytest.skip(host.lacks_ids(6100))
    if request.param == "disk" and host.in_user_namespace():
        # mount_setattr(2), EPERM: who maps the ids of a file system must be root of its own
        # user namespace, and a disk is the initial one's.
        pytest.skip("only root of the initial user namespace maps the ids of a disk")
    path = f"{scratch}/mapped" if request.param == "tmpfs" else f"{tmp_path}/mapped"
    os.mkdir(path)
    os.chmod(path, 0o777)
    with open(f"{path}/file", "w"):
        pass
    yield path
    shutil.rmtree(path)


@pytest.fixture
def overlay(_no_leaks, scratch):
    """A mount of a file system that knows no id mapping, though its layers may have one."""
    top = f"{scratch}/layers"
    for name in ("mapped", "lower", "upper", "work"):
        os.makedirs(f"{top}/{name}")
    layers = f"lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work"
    host.mount("overlay", f"{top}/mapped", "overlay", data=layers)
    yield f"{top}/mapped"
    host.umount(f"{top}/mapped")
    shutil.rmtree(top)


@pytest.fixture(autouse=True)
def _works(runtime):
    result = runtime("features")
    found = json.loads(result.out)["linux"] if result.code == 0 else {}
    if not found.get("mountExtensions", {}).get("idmap", {}).get("enabled"):
        known_of_runc(runtime, "1.1 has no id mapped mounts", seen=True)
        pytest.skip("the features of this runtime do not name idmapped mounts")


def mapped(bundle, source, *options, host_uid=5000, host_gid=6000, size=100):
    """Bind the source with a mapping of its own."""
    bundle.mount("/mnt", "bind", source, *options)
    bundle.config["mounts"][-1].update(
        uidMappings=[{"containerID": 0, "hostID": host_uid, "size": size}],
        gidMappings=[{"containerID": 0, "hostID": host_gid, "size": size}],
    )
    return bundle


# podman 5 sends the mappings without the option word, and without a user namespace as well.
@pytest.mark.parametrize("options", [["bind"], ["rbind", "idmap"], ["rbind", "ridmap"]])
def test_a_mapping_of_its_own_shows_other_owners(runtime, bundle, source, options):
    mapped(bundle, source, *options)

    assert runtime.run(bundle, "stat -c %u:%g /mnt/file").ok().out == "5000:6000\n"
    assert os.stat(f"{source}/file").st_uid == 0


def test_what_a_mapped_user_makes_belongs_to_the_other_on_the_disk(runtime, bundle, source):
    bundle.config["process"]["user"] = {"uid": 5001, "gid": 6002}
    mapped(bundle, source, "bind")
    runtime.run(bundle, "touch /mnt/new").ok()
    found = os.stat(f"{source}/new")

    assert (found.st_uid, found.st_gid) == (1, 2)


def test_a_user_who_is_not_mapped_can_make_nothing(runtime, bundle, source):
    mapped(bundle, source, "bind")

    # mount_setattr(2): EOVERFLOW, since root has no id on the disk.
    assert runtime.run(bundle, "touch /mnt/new").code != 0


# podman 4.3.1 sends the word alone; config.md lets it mean the container's own mapping.
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_the_word_alone_means_the_mapping_of_the_user_namespace(runtime, bundle, source, option):
    bundle.user_namespace(host_id=100000)
    bundle.mount("/mnt", "bind", source, "rbind", option)
    bundle.mount("/srv", "bind", source, "rbind")
    script = "stat -c %u:%g /mnt/file /srv/file; touch /mnt/new"

    assert runtime.run(bundle, script).ok().lines == ["0:0", "65534:65534"]
    assert os.stat(f"{source}/new").st_uid == 0


def test_a_mapping_of_its_own_wins_over_the_user_namespace(runtime, bundle, source):
    bundle.user_namespace(host_id=100000)
    mapped(bundle, source, "bind", "idmap", host_uid=100007, host_gid=100008)

    assert runtime.run(bundle, "stat -c %u:%g /mnt/file").ok().out == "7:8\n"


def test_the_mapping_of_a_user_namespace_by_path(runtime, new_bundle, source):
    other = runtime.started(new_bundle().user_namespace(host_id=100000))
    bundle = new_bundle().user_namespace(host_id=100000)
    bundle.namespace("user", f"/proc/{other.pid}/ns/user")
    del bundle.config["linux"]["uidMappings"], bundle.config["linux"]["gidMappings"]
    bundle.mount("/mnt", "bind", source, "bind", "idmap")

    assert runtime.run(bundle, "stat -c %u:%g /mnt/file").ok().out == "0:0\n"


@needs.ids
@pytest.mark.parametrize(("option", "below"), [("idmap", "0"), ("ridmap", "5000")])
def test_only_ridmap_maps_what_is_mounted_below(runtime, bundle, nested, option, below):
    mapped(bundle, nested, "rbind", option)
    os.chmod(nested, 0o755)

    assert runtime.run(bundle, "stat -c %u /mnt /mnt/below").ok().lines == ["5000", below]


def test_flags_hold_on_a_mapped_mount(runtime, bundle, source):
    mapped(bundle, source, "bind", "ro", "nosuid")
    bundle.config["process"]["user"] = {"uid": 5000, "gid": 6000}
    result = runtime.run(bundle, "grep ' /mnt ' /proc/self/mountinfo; touch /mnt/file")

    assert {"ro", "nosuid", "idmapped"} <= last_at("/mnt", result.out).options
    assert result.code != 0


def test_the_word_alone_without_a_user_namespace_is_refused(runtime, bundle, source):
    # config.md: an error MUST be returned.
    bundle.mount("/mnt", "bind", source, "bind", "idmap")
    result = runtime.run(bundle, "true")

    assert result.code != 0
    assert "idmap needs uidMappings and gidMappings, or a user namespace" in result.message


@needs.ids
def test_a_file_system_that_cannot_is_told(runtime, bundle, overlay):
    for source in ("/sys/kernel", overlay):
        mapped(bundle, source, "bind")
        result = runtime.run(bundle, "true")

        assert result.code != 0
        assert f"cannot map the ids of {source}: mount_setattr: EINVAL" in result.message
        bundle.config["mounts"].pop()


def test_a_mapping_is_for_bind_mounts(runtime, bundle):
    mapped(bundle, "tmpfs")
    bundle.config["mounts"][-1]["type"] = "tmpfs"
    result = runtime.run(bundle, "true")

    assert result.code != 0
    assert "idmap is for bind mounts" in result.message


def test_a_file_is_mapped_like_a_directory(runtime, bundle, source):
    mapped(bundle, f"{source}/file", "bind")

    assert runtime.run(bundle, "stat -c %u:%g /mnt").code != 0
    bundle.config["mounts"][-1]["destination"] = "/etc/mapped"

    assert runtime.run(bundle, "stat -c %u:%g /etc/mapped").ok().out == "5000:6000\n"
