"""Where the program of a hook is looked for, what it finds, and what its failure does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from integration.differences import known_of_runc
from integration.host import text_of

OF_THE_HOST = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
OF_CREATE = ("prestart", "createRuntime", "createContainer")
# Of all namespaces a process can have, those that every kernel here has.
LINKS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


@pytest.fixture
def note(bundle):
    """A file beside the rootfs, which hooks of the host write to."""
    path = f"{bundle.path}/note"
    with open(path, "w"):
        pass
    return path


def script(path, text):
    with open(path, "w") as out:
        out.write(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)
    return path


@pytest.mark.parametrize("kind", OF_THE_HOST)
def test_the_program_of_a_hook_is_one_of_the_host(runtime, bundle, note, kind):
    # The rootfs has a program at the same path, with another answer.
    path = script(f"{bundle.path}/a-hook", f"echo host >>{note}")
    os.makedirs(f"{bundle.rootfs}{bundle.path}")
    script(f"{bundle.rootfs}{path}", f"echo image >>{note}")
    bundle.hook(kind, path)
    runtime.run(bundle, "true").ok()

    assert text_of(note) == "host\n"


def test_the_program_of_a_start_container_hook_is_one_of_the_image(runtime, bundle):
    script(f"{bundle.rootfs}/opt/a-hook", "echo image >/note")
    bundle.hook("startContainer", "/opt/a-hook")

    assert runtime.run(bundle, "cat /note").ok().out == "image\n"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_a_hook_of_the_host_shares_every_namespace_of_the_runtime(runtime, bundle, note, kind):
    bundle.namespace("cgroup")
    paths = " ".join(f"/proc/self/ns/{link}" for link in LINKS)
    bundle.hook(kind, "/bin/sh", "-c", f"/bin/readlink {paths} >{note}")
    runtime.run(bundle, "true").ok()

    assert text_of(note).split() == [os.readlink(f"/proc/self/ns/{link}") for link in LINKS]


@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
def test_a_hook_of_the_container_shares_every_namespace_of_it(runtime, bundle, note, kind):
    bundle.namespace("cgroup")
    bundle.mount("/note", "bind", note, "bind")
    where = "/note" if kind == "startContainer" else note
    # busybox's readlink takes one path.
    lines = "; ".join(f"/bin/readlink /proc/self/ns/{link}" for link in LINKS)
    bundle.hook(kind, "/bin/sh", "-c", f"({lines}) >{where}")
    container = runtime.started(bundle)

    assert text_of(note).split() == [container.namespace(link) for link in LINKS]


# The pid is in the state; sed is what a shell has for JSON.
PID = """pid=$(/bin/sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p')"""


@pytest.mark.parametrize("kind", OF_CREATE)
def test_a_hook_of_create_finds_the_environment_made_and_the_root_not_yet_changed(
    runtime, bundle, note, kind
):
    # Before pivot_root the mounts of the container lie below the rootfs as the host names it.
    mounts = "/proc/self/mountinfo" if kind == "createContainer" else "/proc/$pid/mountinfo"
    bundle.hook(kind, "/bin/sh", "-c", f"{PID}; exec /bin/cat {mounts} >{note}")
    runtime.create(bundle)
    targets = [line.split()[4] for line in text_of(note).splitlines()]

    assert {f"{bundle.rootfs}{path}" for path in ("", "/proc", "/dev", "/sys")} <= set(targets)


def test_a_poststart_hook_runs_when_the_program_runs_and_before_start_returns(
    runtime, bundle, note
):
    bundle.hook("poststart", "/bin/sh", "-c", f"{PID}; /bin/readlink /proc/$pid/exe >{note}")
    runtime.create(bundle.script("exec sleep 1000"))
    early = text_of(note)
    known_of_runc(runtime, "poststart hooks run in create", seen=early != "")
    runtime("start", bundle.id).ok()

    assert (early, text_of(note)) == ("", "/bin/busybox\n")


def test_a_poststop_hook_runs_when_the_container_is_gone_and_before_delete_returns(
    runtime, bundle, note
):
    state = " ".join(runtime.argv("state", bundle.id))
    group = f"test -e /sys/fs/cgroup/pids{bundle.cgroup} || test -e /sys/fs/cgroup{bundle.cgroup}"
    bundle.hook(
        "poststop", "/bin/sh", "-c",
        f"{state} >/dev/null 2>&1; echo state $? >{note}; {group}; echo cgroup $? >>{note}",
    )  # fmt: skip
    container = runtime.create(bundle).start()
    container.wait()
    early = text_of(note)
    container.delete().ok()

    assert (early, text_of(note)) == ("", "state 1\ncgroup 1\n")


@pytest.mark.parametrize("kind", OF_CREATE)
def test_after_a_failing_hook_of_create_the_poststop_hooks_run(runtime, bundle, note, kind):
    # runtime.md, lifecycle: continue at the step that destroys; the next one is poststop.
    bundle.hook(kind, "/bin/false")
    bundle.hook("poststop", "/bin/sh", "-c", f"echo poststop >>{note}")
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert text_of(note) == "poststop\n"
    assert runtime("state", bundle.id).code == 1


def test_without_a_hook_that_ran_a_failing_create_runs_none(runtime, bundle, note):
    bundle.hook("poststop", "/bin/sh", "-c", f"echo poststop >>{note}")
    bundle.mount("/mnt", "bind", "/no/such/source", "bind")
    result = runtime.try_create(bundle)
    known_of_runc(runtime, "it runs poststop for what it never began", seen=text_of(note) != "")

    assert result.code != 0
    assert text_of(note) == ""


def test_a_failing_start_container_hook_is_an_error_of_start(runtime, bundle, note):
    # runtime.md 1.3, lifecycle 7: continue at the step that destroys; the next one is poststop.
    bundle.hook("startContainer", "/bin/false")
    bundle.hook("poststop", "/bin/sh", "-c", f"echo poststop >>{note}")
    container = runtime.create(bundle)
    result = container.verb("start")
    known_of_runc(runtime, "start takes the end of init for a start", seen=result.code == 0)

    assert result.code != 0
    assert "startContainer" in result.message
    assert text_of(note) == "poststop\n"
    assert runtime("state", bundle.id).code == 1


def test_a_failing_poststart_hook_is_an_error_and_ends_the_container(runtime, bundle, note):
    # runtime.md 1.3, lifecycle 9.
    bundle.hook("poststart", "/bin/false")
    bundle.hook("poststart", "/bin/sh", "-c", f"echo second >>{note}")
    bundle.hook("poststop", "/bin/sh", "-c", f"echo poststop >>{note}")
    bundle.script("exec sleep 1000")
    result = runtime.try_create(bundle)
    known_of_runc(runtime, "poststart hooks run in create", seen=result.code != 0)
    result = runtime("start", bundle.id)

    assert result.code != 0
    assert "poststart" in result.message
    assert text_of(note) == "poststop\n"
    assert runtime("state", bundle.id).code == 1


def test_a_start_that_is_interrupted_in_a_poststart_hook_ends_the_container(runtime, bundle, note):
    script = f"test -e {note}.go || exit 1; echo began >{note}; exec sleep 1000"
    bundle.hook("poststart", "/bin/sh", "-c", script)
    bundle.script("exec sleep 1000")
    result = runtime.try_create(bundle)
    known_of_runc(runtime, "poststart hooks run in create", seen=result.code != 0)
    with open(f"{note}.go", "w"):
        pass
    with subprocess.Popen(runtime.argv("start", bundle.id), stderr=subprocess.DEVNULL) as start:
        while text_of(note) != "began\n":
            assert start.poll() is None
            time.sleep(0.001)
        start.send_signal(signal.SIGINT)

    assert start.returncode != 0
    assert runtime("state", bundle.id).code == 1


def test_run_leaves_nothing_when_a_poststart_hook_fails(runtime, bundle, note):
    bundle.hook("poststart", "/bin/false")
    bundle.hook("poststop", "/bin/sh", "-c", f"echo poststop >>{note}")
    result = runtime.run(bundle, "exec sleep 1000")

    assert result.code != 0
    assert text_of(note) == "poststop\n"
    assert runtime("state", bundle.id).code == 1


def test_a_failing_poststop_hook_is_a_warning_in_the_log_and_the_rest_runs(runtime, bundle, note):
    bundle.hook("poststop", "/bin/false")
    bundle.hook("poststop", "/bin/sh", "-c", f"echo second >>{note}")
    container = runtime.create(bundle).start()
    container.wait()
    log = f"{bundle.path}/log"
    result = runtime("--log", log, "--log-format", "json", "delete", bundle.id)
    known_of_runc(runtime, "no poststop hook runs after one that failed", seen=text_of(note) == "")

    assert (result.code, result.out, result.err) == (0, "", "")
    assert text_of(note) == "second\n"
    entry = json.loads(text_of(log))
    assert entry["level"] == "warning"
    assert "/bin/false" in entry["msg"]
