"""Sandboxes that stay: detached, listed, entered, read, destroyed; and bundles for any runtime."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from integration.host import text_of
from integration.runtime import PATH, call
from integration.sandbox.conftest import ROOT
from integration.terminal import read_until
from tests.schema import check_json


def listed(aisbx):
    found = json.loads(aisbx("ls", "--json").ok().out)
    check_json("ls", found)
    return {one["name"]: one for one in found}


@pytest.fixture
def detached(aisbx):
    """A sandbox `d` that writes a line and waits."""
    aisbx("run", "--detach", "--name", "d", "busybox", "sh", "-c", "echo one; sleep 1000").ok()
    return aisbx


def test_a_detached_sandbox_is_listed_and_writes_a_log(detached):
    one = listed(detached)["d"]

    assert one["status"] == "running"
    assert os.path.isdir(f"/proc/{one['pid']}")
    assert one["image"]["reference"] == "docker://docker.io/library/busybox:latest"
    assert detached("logs", "d").ok().out == "one\n"


def test_a_detached_sandbox_without_a_name_tells_its_name(aisbx):
    name = aisbx("run", "--detach", "busybox", "sleep", "1000").ok().out.strip()
    said = json.loads(aisbx("run", "--detach", "--json", "busybox", "sleep", "1000").ok().out)
    check_json("run", said)

    assert set(listed(aisbx)) == {name, said["name"]}


def test_a_program_is_started_in_it(detached):
    done = detached("exec", "-e", "A=1", "-w", "/home", "d", "sh", "-c", "echo $A $(pwd); exit 5")

    assert (done.code, done.out) == (5, "1 /home\n")


def test_a_program_is_started_as_another_user(detached):
    done = detached("exec", "--user", "guest", "d", "--", "id")

    assert done.ok().out == "uid=1000(guest) gid=1001(guests) groups=29(audio),50(staff)\n"


def test_a_stopped_sandbox_is_kept_and_nothing_is_started_in_it(aisbx):
    aisbx("run", "--keep", "--name", "n", "busybox").ok()

    assert listed(aisbx)["n"]["status"] == "stopped"
    done = aisbx("exec", "n", "true")
    assert done.code == 1
    assert "not running" in done.err


def test_logs_follow_until_the_end(aisbx):
    script = "echo one; sleep 0.5; echo two"
    aisbx("run", "--detach", "--name", "d", "busybox", "sh", "-c", script).ok()

    assert aisbx("logs", "--follow", "d").ok().out == "one\ntwo\n"


def test_a_sandbox_in_front_has_no_log(aisbx):
    aisbx("run", "--keep", "--name", "n", "busybox").ok()
    done = aisbx("logs", "n")

    assert done.code == 1
    assert "has no log" in done.err


def test_destroy_ends_and_removes(detached):
    pid = listed(detached)["d"]["pid"]
    detached("destroy", "d").ok()

    # The session adopts orphans: a zombie is ours to reap.
    assert os.waitid(os.P_PID, pid, os.WEXITED) is not None
    assert listed(detached) == {}


@pytest.mark.parametrize("command", ["destroy", "exec", "logs"])
@pytest.mark.parametrize("name", ["nosuch", "..", ""])
def test_a_sandbox_that_is_not_there_is_an_error(aisbx, command, name):
    done = aisbx(command, name, *(["true"] if command == "exec" else []))

    assert done.code == 1
    assert "there is no sandbox" in done.err


def test_the_same_name_in_another_store_is_another_sandbox(detached, tmp_path):
    other = {"AISBX_STORE": f"{tmp_path}/other"}
    detached("ls", more_env=other).ok()
    os.makedirs(f"{tmp_path}/other/containers/d")
    detached("destroy", "d", more_env=other).ok()

    assert listed(detached)["d"]["status"] == "running"


def test_a_detached_sandbox_that_cannot_start_leaves_nothing(aisbx):
    done = aisbx("run", "--detach", "busybox", "nosuch")

    assert done.code == 1
    assert "nosuch" in done.err
    assert aisbx.sandboxes() == []


def test_a_terminal_is_given_where_there_is_one(aisbx):
    master, slave = os.openpty()
    argv = [aisbx.program, "run", "busybox", "sh", "-c", "tty; stty size; cat"]
    with subprocess.Popen(
        argv, env=aisbx.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        text = read_until(master, b"/dev/pts/0")
        os.write(master, b"\x04")
        text += read_until(master, None)
    os.close(master)

    assert process.returncode == 0, text


# ---- bundles -------------------------------------------------------------------------------------
@pytest.mark.parametrize("runtime", ["runc", "ours"])
def test_a_bundle_runs_under_any_runtime(aisbx, tmp_path, runtime, program):
    directory = f"{tmp_path}/bundle"
    aisbx("bundle", "create", "busybox", directory, "--", "sh", "-c", "echo x >/new; cat /new").ok()
    argv = [program if runtime == "ours" else runtime, "run", "--bundle", directory, "aisbx-b"]
    for _ in range(2):
        assert call(argv, env={"PATH": PATH}).ok().out == "x\n"

    assert text_of(f"{directory}/upper/new") == "x\n"
    aisbx("bundle", "rm", directory).ok()
    assert not os.path.exists(directory)
    assert os.listdir(aisbx.store.place("pins")) == []


def test_a_bundle_is_found_by_its_path(aisbx, tmp_path):
    directory = f"{tmp_path}/bundle"
    facts = json.loads(aisbx("bundle", "create", "--json", "busybox", directory).ok().out)
    check_json("bundle-create", facts)
    with open(f"{directory}/aisbx.json") as file:
        check_json("bundle", json.load(file))
    (pin,) = os.listdir(aisbx.store.place("pins"))

    assert text_of(aisbx.store.place("pins", pin)) == directory
    aisbx("bundle", "rm", directory).ok()


def test_a_container_of_somebody_else_by_the_same_id_stays(aisbx, tmp_path):
    directory = f"{tmp_path}/bundle"
    aisbx("bundle", "create", "busybox", directory, "--", "sleep", "1000").ok()
    runtime = [aisbx.environment.get("AISBX_RUNTIME", f"{ROOT}/bin/aisbx-runtime")]
    name = f"aisbx-{os.getpid()}"
    # Not to be killed by us while it runs: as if `aisbx run` had been killed, and not the other.
    aisbx("run", "--keep", "--name", name, "busybox").ok()
    call([*runtime, "run", "--detach", "-b", directory, name], env={"PATH": PATH}).ok()
    started = aisbx("destroy", name), aisbx("run", "--name", name, "busybox")
    state = json.loads(call([*runtime, "state", name], env={"PATH": PATH}).ok().out)

    assert [done.code for done in started] == [0, 1]
    assert (state["status"], state["bundle"]) == ("running", directory)
    assert name not in aisbx.sandboxes()
    call([*runtime, "delete", "--force", name], env={"PATH": PATH}).ok()
    aisbx("bundle", "rm", directory).ok()


def test_an_image_that_is_removed_stays_for_bundles_and_sandboxes(aisbx, tmp_path):
    for number in range(2):
        aisbx.images.add(f"other{number}", Env=[f"NUMBER={number}"])
    directory = f"{tmp_path}/bundle"
    aisbx("bundle", "create", "other0", directory, "--", "sh", "-c", "echo here").ok()
    aisbx("run", "--detach", "--name", "d", "other1", "sleep", "1000").ok()
    aisbx("image", "rm", "other0", "other1").ok()
    aisbx("image", "gc").ok()
    argv = [aisbx.environment.get("AISBX_RUNTIME", f"{ROOT}/bin/aisbx-runtime")]

    assert call([*argv, "run", "-b", directory, "aisbx-b"], env={"PATH": PATH}).ok().out == "here\n"
    assert aisbx("exec", "d", "ls", "/etc/passwd").ok()
    aisbx("bundle", "rm", directory).ok()


def test_a_bundle_takes_no_place_that_is_taken(aisbx, tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file", tmp_path / "none/bundle"):
        done = aisbx("bundle", "create", "busybox", str(place))

        assert done.code == 1
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("place", [".", "none", "file"])
def test_what_is_no_bundle_is_not_removed(aisbx, tmp_path, place):
    (tmp_path / "file").write_text("kept")
    done = aisbx("bundle", "rm", f"{tmp_path}/{place}")

    assert done.code == 1
    assert (tmp_path / "file").read_text() == "kept"


def test_a_removal_that_was_killed_is_done_again(aisbx, tmp_path):
    directory = f"{tmp_path}/bundle"
    aisbx("bundle", "create", "busybox", directory).ok()
    for name in sorted(os.listdir(directory), key=lambda name: name == "aisbx.json"):
        path = f"{directory}/{name}"
        os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
    aisbx("bundle", "rm", directory).ok()

    assert not os.path.exists(directory)
    assert os.listdir(aisbx.store.place("pins")) == []
