"""A plain user, without podman around: a user namespace of one id, made by the runtime itself."""

from __future__ import annotations

import os
import pwd

import pytest

from integration import host
from integration.runtime import PATH, Result, call

UID = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def person(program, bundle, scratch):
    """Return a function that calls the runtime as nobody, on a bundle that is nobody's."""
    if host.lacks_ids(UID):
        pytest.skip(host.lacks_ids(UID))
    state = f"{scratch}/nobody"
    os.makedirs(state, 0o700, exist_ok=True)
    for parent, directories, files in os.walk(bundle.rootfs):
        for path in (parent, *(f"{parent}/{name}" for name in (*directories, *files))):
            os.chown(path, UID, UID, follow_symlinks=False)
    os.chown(bundle.path, UID, UID)
    os.chown(state, UID, UID)
    config = bundle.config
    config["linux"].pop("cgroupsPath", None)
    config["linux"].pop("resources", None)
    bundle.namespace("user").without_namespace("cgroup")
    config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": UID, "size": 1}]
    config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": UID, "size": 1}]
    config["mounts"] = [one for one in config["mounts"] if one["type"] not in ("cgroup", "sysfs")]
    for one in config["mounts"]:
        one["options"] = [word for word in one.get("options", []) if word != "gid=5"]

    def runtime(*words: str) -> Result:
        identity = {"user": UID, "group": UID, "extra_groups": []}
        return call([program, "--root", state, *words], env={"PATH": PATH}, **identity)

    if runtime("--version").code:
        pytest.skip("the runtime lies where a plain user may not go")
    yield runtime
    runtime("delete", "--force", bundle.id)


def test_root_inside_is_the_person_outside(person, bundle):
    bundle.script("id -u; cat /proc/self/uid_map; echo hi > /tmp/made").save()

    assert ["0", "0 65534 1"] == [
        " ".join(line.split()) for line in person("run", "-b", bundle.path, bundle.id).ok().lines
    ]
    assert UID == os.stat(f"{bundle.rootfs}/tmp/made").st_uid


def test_host_devices_are_bound(person, bundle):
    bundle.script("echo x > /dev/null && head -c 3 /dev/zero | wc -c").save()

    assert ["3"] == person("run", "-b", bundle.path, bundle.id).ok().lines


def test_what_is_closed_to_the_person_is_closed_inside(person, bundle, scratch):
    hidden = f"{scratch}/hidden"
    os.makedirs(f"{hidden}/secret", 0o700, exist_ok=True)
    os.chmod(hidden, 0o700)
    bundle.mount("/mnt", "bind", f"{hidden}/secret", "bind").script("echo reached").save()
    result = person("run", "-b", bundle.path, bundle.id)

    assert 0 != result.code
    assert "reached" not in result.out


def test_the_whole_life(person, bundle):
    bundle.args("/bin/sleep", "1000").save()
    person("run", "-d", "-b", bundle.path, bundle.id).ok()

    assert ["0"] == person("exec", bundle.id, "/bin/sh", "-c", "id -u").ok().lines
    assert "running" in person("state", bundle.id).ok().out
    person("kill", bundle.id, "KILL").ok()
    person("delete", "--force", bundle.id).ok()


def test_an_exec_shares_the_namespaces(person, bundle):
    bundle.args("/bin/sleep", "1000").save()
    person("run", "-d", "-b", bundle.path, bundle.id).ok()
    script = (
        "for n in pid mnt uts ipc user; do for p in self 1; do readlink /proc/$p/ns/$n; done; done"
    )
    lines = person("exec", bundle.id, "/bin/sh", "-c", script).ok().lines

    assert lines[0::2] == lines[1::2]
    assert os.readlink("/proc/self/ns/user") not in lines


def test_a_program_that_is_missing_is_told(person, bundle):
    bundle.args("/no/such").save()
    result = person("run", "-b", bundle.path, bundle.id)

    assert 0 != result.code
    assert "no such file or directory" in result.message


@pytest.mark.skipif(
    os.path.exists("/sys/module/apparmor"), reason="the label can be had where the LSM is"
)
def test_an_exec_with_a_label_that_cannot_be_had_says_so(person, bundle):
    bundle.args("/bin/sleep", "1000").save()
    person("run", "-d", "-b", bundle.path, bundle.id).ok()
    result = person("exec", "--apparmor", "tight", bundle.id, "/bin/true")

    assert 0 != result.code
    assert "apparmor" in result.message
