"""`aisbx snapshot ...` on sandboxes that run, as people and programs call it."""

from __future__ import annotations

import json
import os

import pytest

from integration.sandbox.test_userns import plain

__all__ = ["plain"]
FOREVER = "while :; do sleep 1; done"


@pytest.fixture
def box(aisbx):
    """A sandbox `box` that runs and has changed something."""
    script = f"echo one >/etc/one; rm /etc/group; mkdir -p /srv/d; touch /ready; {FOREVER}"
    aisbx("run", "--detach", "--name", "box", "busybox", "sh", "-c", script).ok()
    aisbx("exec", "box", "sh", "-c", "while ! [ -e /ready ]; do sleep 0.01; done").ok()
    return aisbx


def status_of(aisbx, name):
    found = {one["name"]: one for one in json.loads(aisbx("ls", "--json").ok().out)}
    return found[name]["status"]


def test_a_snapshot_of_what_runs_is_restored_to_a_new_sandbox(box, snapshots):
    taken = snapshots("create", "--name", "good", "box")
    box("exec", "box", "sh", "-c", "echo two >/etc/one; echo two >/etc/two").ok()

    script = "cat /etc/one; ls /etc /srv"
    found = box("snapshot", "restore", "good", "--", "sh", "-c", script).ok().out

    kept = [line for line in found.split() if line in {"one", "two", "group", "passwd", "d"}]
    assert ["one", "one", "passwd", "d"] == kept
    assert "running" == status_of(box, "box")
    assert taken["name"] == "good"


def test_what_changed_is_told(box, snapshots):
    first = snapshots("create", "box")["id"]
    box("exec", "box", "sh", "-c", "echo two >/etc/one; rmdir /srv/d").ok()
    second = snapshots("create", "box")["id"]

    changed = {(each["change"], each["path"]) for each in snapshots("diff", first)}
    assert {
        ("deleted", "etc/group"),
        ("added", "etc/one"),
        ("added", "srv/d"),
        ("added", "ready"),
    } <= changed
    assert "C etc/one (content, time)\nD srv/d\n" == box("snapshot", "diff", first, second).ok().out


def test_snapshots_are_listed_and_inspected(box, snapshots):
    taken = snapshots("create", "--name", "good", "box")["id"]

    (one,) = snapshots("ls")
    assert (taken, ["good"]) == (one["id"], one["names"])
    assert "docker://docker.io/library/busybox:latest" == one["image"]["reference"]
    entries = snapshots("inspect", "--entries", "good")["entries"]
    assert {"path": "etc/group", "kind": "whiteout"} in entries
    assert taken[7:19] in box("snapshot", "ls").ok().out


def test_a_paused_sandbox_stays_paused(box, snapshots):
    runtime = f"{os.path.dirname(box.program)}/aisbx-runtime"
    from integration.runtime import call

    call([box.environment.get("AISBX_RUNTIME", runtime), "pause", "box"]).ok()

    snapshots("create", "box")

    assert "paused" == status_of(box, "box")


def test_a_restored_sandbox_gets_what_a_new_one_gets(box, snapshots):
    """Whatever a snapshot says: rights, limits and mounts are those of today."""
    snapshots("create", "--name", "good", "box")
    box("run", "--detach", "--name", "boxed-1", "busybox", "sleep", "1000").ok()
    box("snapshot", "restore", "--detach", "--name", "boxed-2", "good", "sleep", "1000").ok()

    def config_of(name):
        with open(box.store.place("containers", name, "config.json")) as file:
            return json.loads(file.read().replace(name, "NAME"))

    assert config_of("boxed-1") == config_of("boxed-2")
    with open(box.store.place("containers/boxed-2/aisbx.json")) as file:
        assert snapshots("ls")[0]["id"] == json.load(file)["snapshot"]


def test_a_sandbox_that_runs_is_replaced_by_force_only(box, snapshots):
    snapshots("create", "--name", "good", "box")
    box("exec", "box", "sh", "-c", "echo two >/etc/one; touch /etc/two").ok()
    restore = ("snapshot", "restore", "--in-place", "box", "--detach")

    refused = box(*restore, "good", "sleep", "1000")
    assert (1, "running") == (refused.code, status_of(box, "box"))
    assert "--force" in refused.err
    box(*restore, "--force", "good", "sleep", "1000").ok()

    assert "one\n" == box("exec", "box", "cat", "/etc/one").ok().out
    assert 1 == box("exec", "box", "ls", "/etc/two").code
    assert ["box"] == box.sandboxes()


def test_a_sandbox_that_has_ended_is_replaced(aisbx, snapshots):
    aisbx("run", "--keep", "--name", "box", "busybox", "sh", "-c", "echo one >/one").ok()
    snapshots("create", "--name", "good", "box")
    restore = ("snapshot", "restore", "--in-place", "box", "good")

    aisbx(*restore, "--", "sh", "-c", "echo two >>/one").ok()
    assert "one\ntwo\n" == text_of(aisbx, "box", "one")
    assert "one\n" == aisbx(*restore, "cat", "/one").ok().out


def text_of(aisbx, name, path):
    with open(aisbx.store.place("containers", name, "upper", path)) as file:
        return file.read()


def test_nothing_is_replaced_that_is_not_there(box, snapshots):
    snapshots("create", "--name", "good", "box")

    refused = box("snapshot", "restore", "--in-place", "other", "good", "true")

    assert (1, ["box"]) == (refused.code, box.sandboxes())


def test_what_has_not_changed_is_not_read_again(box, snapshots):
    box("exec", "box", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=8 2>&1; sleep 0.1").ok()
    first = snapshots("create", "box")
    box("exec", "box", "sh", "-c", "echo more >/more").ok()

    assert first["read_bytes"] >= 8 << 20
    assert 5 == snapshots("create", "box")["read_bytes"]


def test_a_restored_sandbox_is_not_read_again(box, snapshots):
    box("exec", "box", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=8 2>&1").ok()
    snapshots("create", "--name", "good", "box")
    box("snapshot", "restore", "good", "--detach", "--name", "back", "--", "sleep", "1000").ok()

    assert snapshots("create", "back")["read_bytes"] < 1 << 20


def test_all_is_of_one_moment(aisbx, snapshots):
    """A program that writes one file after the other is never seen to have skipped one."""
    script = "i=0; while :; do i=$((i+1)); echo $i >/a; echo $i >/b; echo $i >/c; done"
    aisbx("run", "--detach", "--name", "box", "busybox", "sh", "-c", script).ok()
    seen = set()
    for _ in range(8):
        taken = snapshots("create", "box")["id"]
        out = aisbx("snapshot", "restore", taken, "--", "sh", "-c", "echo $(cat /a /b /c)").ok().out
        numbers = [int(word) for word in out.split()]
        seen.add(numbers[0])
        # The shell truncates a file before it writes it.
        assert len(numbers) < 3 or numbers[2] <= numbers[1] <= numbers[0] <= numbers[2] + 1

    assert len(seen) > 1


def test_an_image_that_a_snapshot_lies_on_stays(aisbx, images, snapshots):
    images.add("precious", Cmd=["true"])
    aisbx("run", "--keep", "--name", "box", "precious", "sh", "-c", "echo one >/one").ok()
    taken = snapshots("create", "--name", "good", "box")["id"]
    aisbx("destroy", "box").ok()
    aisbx("image", "rm", "precious")
    aisbx("image", "gc").ok()

    assert "one\n" == aisbx("snapshot", "restore", "good", "cat", "/one").ok().out
    snapshots("rm", "good")
    aisbx("image", "gc").ok()
    assert 1 == aisbx("snapshot", "restore", taken, "true").code


def test_a_bundle_elsewhere_is_kept_unless_another_runtime_runs_it(aisbx, snapshots, scratch):
    path = f"{scratch}/elsewhere"
    aisbx("bundle", "create", "busybox", path).ok()
    os.makedirs(f"{path}/upper/d")

    taken = snapshots("create", path)

    assert 2 == taken["entries"]
    aisbx("bundle", "rm", path).ok()


def test_ids_are_those_inside_whatever_they_are_outside(aisbx, snapshots):
    """From one user namespace to another one, and to none."""
    script = (
        "umask 0; mkdir -m 2750 /d; echo one >/d/one; chown 1000:1001 /d/one; rm -r /srv; "
        f"mkdir -p /srv/new; touch /ready; {FOREVER}"
    )
    words = ("--detach", "--name", "box", "--userns", "200000:65536")
    aisbx("run", *words, "busybox", "sh", "-c", script).ok()
    aisbx("exec", "box", "sh", "-c", "while ! [ -e /ready ]; do sleep 0.01; done").ok()
    look = "cat /d/one; stat -c '%n %u %g %a' / /d /d/one /srv /srv/new; ls /srv"

    taken = snapshots("create", "--name", "good", "box")

    expected = aisbx("exec", "box", "sh", "-c", look).ok().out
    assert "/d/one 1000 1001 666\n" in expected
    for userns in ("--userns=300000:65536",), ("--userns=auto",), ():
        out = aisbx("snapshot", "restore", *userns, "good", "--", "sh", "-c", look).ok().out
        assert expected == out
    # And what comes back is the same tree.
    words = ("--detach", "--name", "back", "--userns", "300000:65536", "good", "sleep", "1000")
    aisbx("snapshot", "restore", *words).ok()
    assert taken["id"] == snapshots("create", "back")["id"]


def test_a_sandbox_on_a_copy_of_its_image_is_refused(aisbx, snapshots):
    path = aisbx.store.place("locks/userns-lacks")
    with open("/proc/sys/kernel/random/boot_id") as file, open(path, "w") as told:
        told.write(f"{file.read().strip()}\nsomething")
    try:
        words = ("--keep", "--name", "box", "--userns", "200000:65536")
        aisbx("run", *words, "busybox", "true").ok()
        refused = aisbx("snapshot", "create", "box")
        aisbx("run", "--keep", "--name", "two", "busybox", "true").ok()
        snapshots("create", "--name", "good", "two")
        words = ("--userns", "200000:65536", "good", "true")
        restored = aisbx("snapshot", "restore", *words)
    finally:
        os.unlink(path)

    assert (1, 1) == (refused.code, restored.code)
    assert "a copy of its image" in refused.err
    assert "onto an overlay" in restored.err


def test_what_a_sandbox_calls_its_files_reaches_no_terminal(aisbx, snapshots):
    """Escape sequences, newlines, bytes that are no text: each is one line and spelled out."""
    names = "'a\\033]0;x\\007'", "'b\\nA c'", "'d\\377'"
    script = "cd /srv; touch " + " ".join(f'"$(printf {name})"' for name in names)
    aisbx("run", "--keep", "--name", "box", "busybox", "sh", "-c", script).ok()
    taken = snapshots("create", "box")["id"]

    lines = aisbx("snapshot", "diff", taken).ok().lines

    assert [r"A srv/a\x1b]0;x\x07", r"A srv/b\nA c", r"A srv/d\udcff"] == lines
    paths = [each["path"] for each in snapshots("diff", taken)]
    assert ["srv/a\x1b]0;x\x07", "srv/b\nA c", "srv/d\udcff"] == paths


def test_a_plain_users_sandbox_is_kept_and_restored(plain):
    script = "echo one >/one; rm /bin/id; mkdir /d; ln /one /d/two"
    plain("run", "--keep", "--name", "n", plain.image, "sh", "-c", script).ok()
    plain("snapshot", "create", "--name", "good", "n").ok()
    look = "cat /one /d/two; stat -c '%n %u %h' /one; [ -e /bin/id ] || echo gone"

    out = plain("snapshot", "restore", "good", "--", "sh", "-c", look).ok().out

    assert "one\none\n/one 0 2\ngone\n" == out


def test_a_file_that_a_plain_user_cannot_read_is_named(plain):
    plain("run", "--keep", "--name", "n", plain.image, "sh", "-c", "umask 777; >/shut").ok()

    refused = plain("snapshot", "create", "n")

    assert 1 == refused.code
    assert "('shut'): EACCES" in refused.err
    assert "hint" in refused.err
