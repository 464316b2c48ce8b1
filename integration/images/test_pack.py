"""What a sandbox changed becomes an image, in which every engine sees the same files."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.store import Store
from integration import host, needs
from integration.images import packing
from integration.images.registry import PASSWORD, USER, running
from integration.runtime import call
from integration.sandbox.conftest import Aisbx
from tests.sandbox.images.schemas import errors
from tests.schema import check_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.engines.podman import Podman


# Several sessions may share one machine, and cgroups are called as sandboxes are.
BOX, STOPPED = f"{host.MARK}-box", f"{host.MARK}-stopped"
FIRST, SECOND = f"{host.MARK}-first", f"{host.MARK}-second"


@pytest.fixture(scope="module")
def place(scratch: str) -> Iterator[str]:
    reason = host.lacks_program("umoci", "skopeo", "busybox", "cc")
    if reason:
        pytest.skip(reason)
    with packing.ground(scratch) as path:
        yield path


@pytest.fixture(scope="module")
def everything(place, scratch, template) -> Aisbx:
    """A store with the image `base`, which has a bit of everything."""
    tree = f"{scratch}/tree"
    source = os.path.join(os.path.dirname(packing.__file__), "../probes/tree.c")
    subprocess.run(["cc", "-static", "-O1", "-Wall", "-o", tree, source], check=True)
    packing.base_rootfs(f"{place}/base", template, tree)
    made = Aisbx(SimpleNamespace(store=Store.open(f"{place}/store")))
    made("init", "--rootfs", f"{place}/base", "base").ok()
    return made


@pytest.fixture
def aisbx(everything) -> Iterator[Aisbx]:
    yield everything
    for name in everything.sandboxes():
        everything("destroy", name).ok()
    everything.wait_clean()


@pytest.fixture
def changed(aisbx) -> list[str]:
    """A sandbox BOX that runs, and has changed everything; return what is seen in it."""
    up(aisbx, BOX, packing.CHANGES)
    return seen_in(aisbx, BOX)


def up(aisbx, name, script="", image="base", options=()):
    aisbx("run", "--detach", "--name", name, *options, image, "--", "/bin/sleep", "1000").ok()
    aisbx("exec", name, "--", "/bin/sh", "-c", script or "true").ok()


def seen_in(aisbx, name):
    return packing.files_of(aisbx("exec", name, "--", "/bin/sh", "-c", packing.LIST).ok().out)


def seen_on(aisbx, image, *options):
    return packing.files_of(aisbx.sh(packing.LIST, *options, image=image).ok().out)


def packed(aisbx, *words):
    """Pack, and return what it says."""
    result = json.loads(aisbx("--json", "image", "pack", *words).ok().out)
    check_json("image-pack", result)
    return result


def test_a_sandbox_on_the_packed_image_sees_the_same_files(aisbx, changed):
    packed(aisbx, BOX, "same")

    assert "srv/opaque/new" in "\n".join(changed)
    assert changed == seen_on(aisbx, "same")


def test_podman_sees_the_same_files(aisbx, changed, podman: Podman):
    packed(aisbx, BOX, "containers-storage:localhost/same:1")
    words = ["--pull", "never", "--no-hosts", "localhost/same:1", "sh", "-c", packing.LIST]
    found = packing.files_of(podman.run(*words).ok().out)
    if host.lacks_user_xattrs(podman.environment["TMPDIR"]):
        changed = packing.without_user_xattrs(changed)

    # containers/storage gives every root directory the mode 0555.
    assert changed[1:] == found[1:]


def test_the_sandbox_still_runs_and_may_go_on(aisbx, changed):
    packed(aisbx, BOX, "then")
    aisbx("exec", BOX, "--", "/bin/sh", "-c", "echo later >/srv/later").ok()

    assert "srv/later" not in "\n".join(seen_on(aisbx, "then"))
    assert BOX in aisbx("ls").ok().out
    assert "running" in aisbx("ls").ok().out


def test_packing_twice_gives_one_digest_and_leaves_no_snapshot(aisbx, changed):
    one = packed(aisbx, BOX, "one")
    two = packed(aisbx, BOX, "two")

    assert (one["digest"], one["snapshot"]) == (two["digest"], two["snapshot"])
    assert os.listdir(aisbx.store.place("snapshots/trees")) == []


def test_a_stopped_sandbox_is_packed_as_well(aisbx):
    aisbx("run", "--keep", "--name", STOPPED, "base", "--", "/bin/sh", "-c", "echo x >/new").ok()
    packed(aisbx, STOPPED, "stopped")

    assert aisbx.sh("cat /new", image="stopped").out == "x\n"


def test_an_image_on_a_packed_one_has_both(aisbx):
    up(aisbx, FIRST, "echo a >/a; rm -r /srv/merged")
    packed(aisbx, FIRST, "first")
    up(aisbx, SECOND, "echo b >/b; rm /a; mkdir /srv/merged", image="first")
    made = packed(aisbx, SECOND, "second")

    assert aisbx.sh("cat /b; ls -d /a; ls /srv/merged", image="second").out == "b\n"
    assert len(layout.manifest(aisbx.store, made["digest"]).layers) == 3


def test_the_documents_are_as_the_image_spec_wants_them(aisbx, changed):
    made = packed(aisbx, BOX, "documents")
    manifest = json.loads(layout.read_blob(aisbx.store, made["digest"]))
    config = json.loads(layout.read_blob(aisbx.store, manifest["config"]["digest"]))

    assert errors("image-manifest", manifest) == []
    assert errors("config", config) == []
    assert manifest["annotations"] == {
        "org.opencontainers.image.base.name": "docker.io/library/base:latest",
        "org.opencontainers.image.base.digest": made["base_digest"],
        "dev.aisbx.snapshot": made["snapshot"],
    }


def test_the_base_may_be_removed_while_the_sandbox_is_there(aisbx, place):
    aisbx("init", "--rootfs", f"{place}/base", "other").ok()
    up(aisbx, BOX, "echo x >/new", image="other")
    aisbx("image", "rm", "other").ok()
    aisbx("image", "gc").ok()
    packed(aisbx, BOX, "orphan")

    assert aisbx.sh("cat /new", image="orphan").out == "x\n"


def test_a_name_that_only_means_a_removal_is_refused(aisbx):
    up(aisbx, BOX, "touch /srv/.wh.kept")
    done = aisbx("image", "pack", BOX, "refused")

    assert done.code == 1
    assert done.err.splitlines()[-2:] == [
        (
            "aisbx: image pack: an image cannot carry a file of this name (/srv/.wh.kept): "
            "a name that begins with .wh. stands for a file that was removed"
        ),
        "  hint: rename or remove it",
    ]
    assert "refused" not in aisbx("image", "ls").ok().out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("image", "pack", "nobody", "x"), "neither a sandbox nor a snapshot 'nobody'"),
        (("image", "pack", BOX, "UPPER"), "no name of an image"),
        (("image", "pack", BOX, "nowhere://x"), "there is no transport 'nowhere'"),
        (("image", "push", "nothing", "oci:/tmp/x:y"), "there is no such image"),
        (("image", "push", "base", "name"), "this is a name"),
        (("init", "--rootfs", "/nonexistent", "x"), "no such directory or archive"),
        (("export", BOX, "-o", "/nonexistent/x"), "cannot write the archive"),
    ],
)
def test_what_cannot_be_is_said(aisbx, words, what):
    up(aisbx, BOX)
    done = aisbx("--json", *words)
    said = json.loads(done.err.splitlines()[-1])
    check_json("error", said)

    assert done.code == 1
    assert what in said["error"]["what"] + said["error"]["why"]


def test_a_registry_gets_it_and_gives_it_back(aisbx, changed, scratch):
    with running(f"{scratch}/pack-registry", tls=True, login=True) as registry:
        place = f"docker://{registry.host}/some/where:1"
        options = ("--cert-dir", registry.certificates, "--user", f"{USER}:{PASSWORD}")
        made = packed(aisbx, BOX, place, *options)
        wrong = aisbx("image", "push", place, "--cert-dir", registry.certificates,
                      "--user", f"{USER}:wrong")  # fmt: skip
        aisbx("image", "rm", place).ok()
        pulled = json.loads(aisbx("--json", "image", "pull", place, *options).ok().out)

    assert made["pushed"]
    assert made["digest"] == pulled["digest"]
    assert changed == seen_on(aisbx, place)
    assert wrong.code == 1
    assert "cannot push the image" in wrong.err
    assert "wrong" not in wrong.err.replace("unauthorized", "")


def test_push_says_where_to(aisbx, place):
    target = f"oci:{place}/pushed:tag"
    done = aisbx("--json", "image", "push", "base", target)
    result = json.loads(done.ok().out)
    check_json("image-push", result)
    lines = [json.loads(line) for line in done.err.splitlines()]
    for line in lines:
        check_json("progress", line)

    assert result["place"] == target
    assert lines[-1]["progress"]["done_bytes"] == lines[-1]["progress"]["total_bytes"] > 0


@pytest.mark.parametrize("what", ["sandbox", "image"])
def test_an_export_has_all_files(aisbx, changed, place, what):
    if what == "image":
        packed(aisbx, BOX, "exported")
    path = f"{place}/{what}.tar"
    argument = BOX if what == "sandbox" else "exported"
    result = json.loads(aisbx("--json", "export", argument, "--output", path).ok().out)
    check_json("export", result)
    directory = f"{place}/{what}-exported"
    os.mkdir(directory)
    words = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", directory]
    subprocess.run([*words, "-xpf", path], check=True, capture_output=True)

    assert changed == packing.seen(directory)
    assert result["bytes"] == os.path.getsize(path)
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_an_export_comes_back(aisbx, changed, place):
    path = f"{place}/back.tar"
    with open(path, "wb") as out:
        aisbx("export", BOX, stdout=out).ok()
    result = json.loads(aisbx("--json", "init", "--rootfs", path).ok().out)
    check_json("init", result)

    assert result["name"] == "docker://docker.io/library/back:latest"
    assert changed == seen_on(aisbx, "back")


def test_a_plain_user_is_root_in_what_they_bring(aisbx, place):
    home = f"{place}/person"
    os.makedirs(f"{home}/rootfs/etc", mode=0o755)
    with open(f"{home}/rootfs/etc/own", "w") as out:
        out.write("own")
    for path in (home, f"{home}/rootfs", f"{home}/rootfs/etc", f"{home}/rootfs/etc/own"):
        os.chown(path, 4242, 4243)
    person = ["setpriv", "--reuid", "4242", "--regid", "4243", "--clear-groups", aisbx.program]
    options = {"env": {**aisbx.environment, "AISBX_STORE": f"{home}/store"}}
    call([*person, "init", "--rootfs", f"{home}/rootfs", "mine"], **options).ok()
    call([*person, "export", "mine", "-o", f"{home}/mine.tar"], **options).ok()
    with tarfile.open(f"{home}/mine.tar") as tar:
        found = {member.name: (member.uid, member.gid) for member in tar}

    assert os.stat(f"{home}/mine.tar").st_uid == 4242
    assert found == {".": (0, 0), "etc": (0, 0), "etc/own": (0, 0)}


def snapshot_of(aisbx, name, snapshot):
    """Take a snapshot of a sandbox; return its id."""
    done = aisbx("snapshot", "create", "--json", "--name", snapshot, name).ok()
    return json.loads(done.out)["id"]


def test_a_snapshot_is_packed_as_the_sandbox_was_then(aisbx, changed):
    then = packed(aisbx, BOX, "then")
    snapshot_id = snapshot_of(aisbx, BOX, "snap")
    aisbx("exec", BOX, "--", "/bin/sh", "-c", "rm -r /srv").ok()
    made = packed(aisbx, "snap", "of-snapshot")

    assert (snapshot_id, then["digest"]) == (made["snapshot"], made["digest"])
    assert changed == seen_on(aisbx, "of-snapshot")
    assert "srv/kept" in aisbx("export", "snap").ok().out


@needs.ids
def test_a_sandbox_with_other_ids_packs_what_it_sees(aisbx):
    up(aisbx, BOX, packing.changes_without("ln lower"), options=("--userns", "auto"))
    seen = seen_in(aisbx, BOX)
    packed(aisbx, BOX, "inside")

    assert " 7:8 " in "\n".join(seen)
    assert seen == seen_on(aisbx, "inside")
    assert seen == seen_on(aisbx, "inside", "--userns", "auto")


@needs.ids
def test_what_a_plain_user_packs_root_sees_as_well(aisbx, place):
    home = f"{place}/plain"
    os.makedirs(f"{home}/rootfs")
    packing.copy(f"{place}/base", f"{home}/rootfs")
    for parent, names, files in os.walk(f"{home}/rootfs"):
        for path in (parent, *(f"{parent}/{name}" for name in (*names, *files))):
            os.chown(path, 4242, 4242, follow_symlinks=False)
    os.chown(home, 4242, 4242)

    def person(*words):
        user = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"]
        environment = {**aisbx.environment, "AISBX_STORE": f"{home}/store"}
        return call([*user, aisbx.program, *words], env=environment, cwd="/").ok()

    # A plain user's sandbox has one id, and what it may not read it cannot pack.
    may = packing.changes_without("ln lower", "chown", "chmod 0 ", "tree xattr copied")
    person("init", "--rootfs", f"{home}/rootfs", "base")
    script = f"{may}\n{packing.LIST}"
    words = ["run", "--keep", "--name", BOX, "base", "--", "/bin/sh", "-c", script]
    seen = packing.files_of(person(*words).out)
    person("image", "pack", BOX, f"oci:{home}/out:tag")
    person("destroy", BOX)

    assert "srv/opaque/new" in "\n".join(seen)
    assert seen == seen_on(aisbx, f"oci:{home}/out:tag")


def test_a_kill_at_any_time_is_made_good_by_the_same_command(aisbx):
    up(aisbx, BOX, "head -c 2000000 /dev/urandom >/big")
    words = [aisbx.program, "image", "pack", BOX, "killed"]
    begin = time.monotonic()
    digests = {packed(aisbx, BOX, "killed")["digest"]}
    took_s = time.monotonic() - begin
    killed = 0
    for tenths in range(1, 8):
        process = subprocess.Popen(
            words, env=aisbx.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        timer = threading.Timer(took_s * tenths / 10, process.kill)
        timer.start()
        killed += process.wait() != 0
        timer.cancel()
        digests.add(packed(aisbx, BOX, "killed")["digest"])

        assert "running" in aisbx("ls").ok().out

    assert len(digests) == 1
    # Machines are shared: not all of them hit.
    assert killed
    aisbx("image", "gc").ok()
    assert aisbx.sh("wc -c </big", image="killed").out.strip() == "2000000"
