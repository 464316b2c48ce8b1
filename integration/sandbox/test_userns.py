"""Sandboxes in user namespaces: root's with other ids, and a plain user's own."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
import time

import pytest

from integration import needs
from integration.host import text_of
from integration.leaks import PATIENCE_S
from integration.runtime import PATH, call
from integration.sandbox.conftest import ROOT
from integration.sandbox.filled_store import set_config, umoci

pytestmark = needs.ids
NOBODY = 65534
CHANGES = "touch /new; rm /etc/group; mkdir /opt/d; su guest -c 'touch /tmp/guests'"


def facts(aisbx, name):
    return json.loads(text_of(aisbx.store.place("containers", name, "aisbx.json")))


@pytest.mark.parametrize("words", ["auto", "200000:65536"])
def test_the_sandbox_has_other_ids_and_sees_the_images(aisbx, words):
    script = "cat /proc/self/uid_map; stat -c %u:%g /etc/passwd /; id -u"
    done = aisbx.sh(script, "--userns", words)
    inside, outside, count = done.ok().lines[0].split()

    assert (inside, count) == ("0", "65536")
    assert int(outside) >= 200000
    assert done.lines[1:] == ["0:0", "0:0", "0"]


def test_what_changed_belongs_to_the_ids_outside_and_the_image_is_not_touched(aisbx):
    words = ("--userns", "200000:65536", "--keep", "--name", "n")
    aisbx.sh(CHANGES, *words).ok()
    upper = facts(aisbx, "n")["upper"]

    assert facts(aisbx, "n")["mapping"] == {
        "uid": [[0, 200000, 65536]],
        "gid": [[0, 200000, 65536]],
    }
    assert os.stat(f"{upper}/new").st_uid == 200000
    assert os.stat(f"{upper}/tmp/guests").st_uid == 201000
    assert os.stat(f"{upper}/etc/group").st_rdev == 0
    assert aisbx.sh("stat -c %u /etc/group").out == "0\n"


def test_two_sandboxes_never_share_ids(aisbx):
    for name in ("a", "b"):
        aisbx("run", "--detach", "--name", name, "--userns", "auto", "busybox", "sleep", "100").ok()
    one, two = (facts(aisbx, name)["mapping"]["uid"][0][1] for name in ("a", "b"))

    assert abs(one - two) >= 65536


def test_a_volume_has_the_ids_too(aisbx):
    def prepare(rootfs):
        os.mkdir(f"{rootfs}/data")
        with open(f"{rootfs}/data/seed", "w") as file:
            file.write("seed\n")

    aisbx.images.add("volumes", prepare, Volumes={"/data": {}, "/made": {}})
    script = "cat /data/seed; stat -c %u /data /data/seed /made; touch /data/x /made/x"

    assert aisbx.sh(script, "--userns", "auto", image="volumes").ok().lines == [
        "seed", "0", "0", "0",
    ]  # fmt: skip


@pytest.mark.parametrize("words", ["x", "1:", "0:100", "5:0", "4294967290:100", "-1:5"])
def test_ids_that_cannot_be_are_refused(aisbx, words):
    done = aisbx("run", f"--userns={words}", "busybox")

    assert done.code == 1
    assert "--userns" in done.err


def test_where_the_kernel_cannot_the_image_is_copied_and_it_is_said_why(aisbx):
    path = aisbx.store.place("locks/userns-lacks")
    boot = text_of("/proc/sys/kernel/random/boot_id").strip()
    with open(path, "w") as file:
        file.write(f"{boot}\nid mapped mounts: none, says the test")
    try:
        words = ("--userns", "200000:65536", "--keep", "--name", "n")
        done = aisbx.sh(f"stat -c %u /etc/group; {CHANGES}", *words)
    finally:
        os.unlink(path)

    assert done.ok().out == "0\n"
    assert "the image is copied, because id mapped mounts: none, says the test" in done.err
    assert facts(aisbx, "n")["upper"] is None
    copied = aisbx.store.place("containers/n/rootfs")
    assert os.stat(f"{copied}/new").st_uid == 200000
    assert os.readlink(f"{copied}/bin/sh") == "busybox"
    assert aisbx.sh("ls /etc/group").ok()


def test_others_see_nothing_of_the_store(aisbx):
    aisbx.sh("true", "--userns", "auto").ok()
    path = aisbx.store.path
    names = [name for name in os.listdir(path) if os.path.isdir(f"{path}/{name}")]

    assert {name for name in names if os.stat(f"{path}/{name}").st_mode & 0o077} == {"containers"}
    assert os.stat(path).st_mode & 0o077 == 0o011


# ---- a plain user --------------------------------------------------------------------------------
@pytest.fixture
def plain():
    """`aisbx` as nobody, with a home of its own and an image as a layout that it may read."""
    place = tempfile.mkdtemp(prefix="aisbx-plain-", dir="/var/tmp")
    os.chmod(place, 0o755)
    os.mkdir(f"{place}/home")
    os.chown(f"{place}/home", NOBODY, NOBODY)
    image = f"{place}/image"
    umoci("init", "--layout", image)
    umoci("new", "--image", f"{image}:x")
    umoci("unpack", "--image", f"{image}:x", f"{place}/made")
    os.mkdir(f"{place}/made/rootfs/bin")
    shutil.copy(shutil.which("busybox") or "", f"{place}/made/rootfs/bin/busybox")
    for name in ("sh", "id", "touch", "rm", "mkdir", "stat", "cat"):
        os.symlink("busybox", f"{place}/made/rootfs/bin/{name}")
    umoci("repack", "--image", f"{image}:x", f"{place}/made")
    set_config(image, {"Cmd": ["sh", "-c", "id -u; cat /proc/self/uid_map"]})
    for parent, names, files in os.walk(image):
        for name in (*names, *files):
            path = f"{parent}/{name}"
            os.chmod(path, 0o755 if os.path.isdir(path) else 0o644)
    os.chmod(image, 0o755)
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]

    def aisbx(*words):
        argv = [*nobody, f"{ROOT}/bin/aisbx", *words]
        return call(argv, env={"PATH": PATH, "HOME": f"{place}/home"}, cwd="/")

    aisbx.image = f"oci:{image}:x"
    aisbx.store = f"{place}/home/.local/share/aisbx"
    yield aisbx
    shutil.rmtree(place)


def test_a_plain_user_is_root_inside(plain):
    for _ in range(2):
        lines = plain("run", plain.image).ok().lines

        assert lines[0] == "0"
        assert lines[1].split() == ["0", str(NOBODY), "1"]
    deadline = time.monotonic() + PATIENCE_S
    while left := os.listdir(f"{plain.store}/work"):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def test_a_plain_user_keeps_and_destroys_what_is_the_users_own(plain):
    script = "touch /new; rm /bin/cat; mkdir -p /a/b"
    plain("run", "--keep", "--name", "n", plain.image, "sh", "-c", script).ok()
    upper = f"{plain.store}/containers/n/upper"

    assert os.stat(f"{upper}/new").st_uid == NOBODY
    assert os.stat(plain.store).st_mode & 0o077 == 0
    plain("destroy", "n").ok()
    assert os.listdir(f"{plain.store}/containers") == []


def test_a_plain_user_imports_what_is_roots_and_what_is_the_users_own(plain):
    home = os.path.dirname(plain.image.split(":")[1]) + "/home"
    rootfs = f"{home}/rootfs"
    shutil.copytree(f"{os.path.dirname(home)}/made/rootfs", rootfs, symlinks=True)
    os.mkdir(f"{rootfs}/own")
    os.chown(f"{rootfs}/own", NOBODY, NOBODY)
    plain("init", "--rootfs", rootfs, "imported").ok()
    archive = plain("export", "imported", "-o", f"{home}/out.tar")
    archive.ok()
    with tarfile.open(f"{home}/out.tar") as made:
        owners = {(one.uid, one.gid) for one in made}

    assert owners == {(0, 0)}
    assert plain("run", "imported", "id", "-u").ok().out == "0\n"


def test_ids_are_not_a_plain_users_to_choose(plain):
    done = plain("run", "--userns", "auto", plain.image)

    assert done.code == 1
    assert "--userns is root's to choose" in done.err
