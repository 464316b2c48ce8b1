"""The six kinds of hooks: when, where, with what they run, and what a failing one does."""

from __future__ import annotations

import json
import os

import pytest

from integration.differences import known_of_runc
from integration.host import text_of

ALL = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
# startContainer runs inside; its program and its journal are files of the rootfs.
INSIDE = "startContainer"
OF_THE_SHELL = {"PWD", "SHLVL", "_", "OLDPWD", "PATH"}


class Journal:
    """Hooks that append a line to one journal and keep their standard input."""

    def __init__(self, bundle):
        self.bundle = bundle
        self.path = f"{bundle.path}/journal"
        bundle.mount("/journal", "bind", self.path, "bind")
        bundle.mount("/states", "bind", f"{bundle.path}/states", "bind")
        os.mkdir(f"{bundle.path}/states")
        with open(self.path, "w"):
            pass

    def hook(self, kind, extra="", **more):
        top = "" if kind == INSIDE else self.bundle.path
        shell = "/bin/sh"
        script = f"echo {kind} >>{top}/journal; cat >{top}/states/{kind}; {extra}"
        self.bundle.hook(kind, shell, "-c", script, **more)

    def lines(self):
        return text_of(self.path).splitlines()

    def state(self, kind):
        return json.loads(text_of(f"{self.bundle.path}/states/{kind}"))


@pytest.fixture
def journal(bundle):
    return Journal(bundle)


def live(runtime, journal, extra="", **more):
    """Take a container with all six kinds through its life; return the journal after each verb."""
    for kind in ALL:
        journal.hook(kind, extra, **more)
    seen = {}
    container = runtime.create(journal.bundle.script("echo program >>/journal"))
    seen["create"] = journal.lines()
    container.start()
    container.wait()
    seen["start"] = journal.lines()[len(seen["create"]) :]
    container.delete().ok()
    seen["delete"] = journal.lines()[len(seen["create"]) + len(seen["start"]) :]
    return seen


def test_the_hooks_run_in_the_order_of_the_specification(runtime, journal):
    seen = live(runtime, journal)
    early = "poststart" in seen["create"]
    known_of_runc(runtime, "poststart hooks run in create", seen=early)

    assert seen["create"] == ["prestart", "createRuntime", "createContainer"]
    # poststart runs beside the program.
    assert sorted(seen["start"]) == ["poststart", "program", "startContainer"]
    assert seen["start"].index("startContainer") < seen["start"].index("program")
    assert seen["delete"] == ["poststop"]


def test_every_hook_gets_the_state_on_its_standard_input(runtime, journal):
    journal.bundle.config["annotations"] = {"a": "b"}
    live(runtime, journal)
    states = {kind: journal.state(kind) for kind in ALL}

    assert {state["id"] for state in states.values()} == {journal.bundle.id}
    assert {state["bundle"] for state in states.values()} == {journal.bundle.path}
    assert all(state["ociVersion"] for state in states.values())
    assert all(state["annotations"] == {"a": "b"} for state in states.values())


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("prestart", {"creating"}),
        ("createRuntime", {"creating"}),
        ("createContainer", {"creating"}),
        ("startContainer", {"created"}),
        ("poststart", {"created", "running"}),
        ("poststop", {"stopped"}),
    ],
)
def test_the_status_fits_the_kind(runtime, journal, kind, allowed):
    live(runtime, journal)
    status = journal.state(kind)["status"]
    known_of_runc(
        runtime,
        "startContainer hooks read creating",
        seen=kind == "startContainer" and status == "creating",
    )

    assert status in allowed


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart"])
def test_the_hook_learns_the_pid_of_init(runtime, journal, kind):
    journal.hook(kind)
    container = runtime.create(journal.bundle.script("exec sleep 1000")).start()

    assert journal.state(kind)["pid"] == container.pid


def test_the_state_of_a_poststop_hook_has_no_pid(runtime, journal):
    live(runtime, journal)

    assert not journal.state("poststop").get("pid")


def environment(runtime, journal, kind, words):
    """Return what a hook has in its environment, without what its shell adds."""
    top = "" if kind == INSIDE else journal.bundle.path
    journal.hook(kind, f"/bin/env >{top}/states/env", env=words)
    env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": "", "LEAK": "1"}
    runtime.run(journal.bundle, "true", env=env).ok()
    lines = text_of(f"{journal.bundle.path}/states/env").splitlines()
    return {line for line in lines if line.split("=")[0] not in OF_THE_SHELL}


@pytest.mark.parametrize("kind", ALL)
def test_the_environment_of_a_hook_is_only_what_is_given(runtime, journal, kind):
    # CVE-2025-23266: neither the image's nor the caller's environment reaches a hook.
    assert environment(runtime, journal, kind, ["A=1", "B=2"]) == {"A=1", "B=2"}


@pytest.mark.parametrize("kind", ALL)
def test_a_hook_without_environment_has_none(runtime, journal, kind):
    found = environment(runtime, journal, kind, [])
    known_of_runc(runtime, "without env a hook inherits it", seen=found != set())

    assert found == set()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_a_hook_of_the_host_runs_in_the_namespaces_of_the_runtime(runtime, journal, kind):
    journal.hook(kind, f"readlink /proc/self/ns/mnt >{journal.bundle.path}/states/ns")
    runtime.run(journal.bundle, "true").ok()
    assert text_of(f"{journal.bundle.path}/states/ns").strip() == os.readlink("/proc/self/ns/mnt")


def test_create_container_hooks_run_in_the_mount_namespace_of_the_container(runtime, journal):
    path = f"{journal.bundle.path}/states/ns"
    journal.hook("createContainer", f"readlink /proc/self/ns/mnt /proc/self/ns/net >{path}")
    container = runtime.create(journal.bundle)
    assert text_of(path).split() == [container.namespace("mnt"), container.namespace("net")]


def test_create_container_hooks_see_the_host_paths(runtime, journal):
    # They run before pivot_root.
    path = f"{journal.bundle.path}/states/seen"
    journal.hook("createContainer", f"test -d {journal.bundle.rootfs} && echo yes >{path}")
    runtime.create(journal.bundle)

    assert os.path.exists(path)


def test_a_mount_made_by_a_create_container_hook_is_seen_inside(runtime, journal):
    target = f"{journal.bundle.rootfs}/mnt"
    journal.hook("createContainer", f"/bin/mount -t tmpfs marker {target}", env=["PATH=/bin"])

    assert "marker" in runtime.run(journal.bundle, "cat /proc/self/mountinfo").ok().out


def test_start_container_hooks_run_inside(runtime, journal):
    journal.hook(
        "startContainer", "(readlink /proc/self/ns/mnt; readlink /proc/self/ns/pid) >/states/ns"
    )
    container = runtime.create(journal.bundle.script("exec sleep 1000")).start()
    assert text_of(f"{journal.bundle.path}/states/ns").split() == [
        container.namespace("mnt"),
        container.namespace("pid"),
    ]


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_start_container_hooks_run_under_the_filter(runtime, journal, no_new_privileges):
    # Programs of the image, as the container's own.
    journal.hook("startContainer", "mkdir /states/made; echo $? >/states/answer")
    journal.bundle.config["process"]["noNewPrivileges"] = no_new_privileges
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    journal.bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule],
    }
    runtime.create(journal.bundle).start().wait()

    assert text_of(f"{journal.bundle.path}/states/answer") == "1\n"
    assert not os.path.exists(f"{journal.bundle.path}/states/made")


def test_a_start_container_hook_that_the_filter_kills_is_named(runtime, journal):
    journal.hook("startContainer", "exec mkdir /states/made")
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
    journal.bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule],
    }
    result = runtime.run(journal.bundle)

    assert result.code != 0
    assert "error running hook" in result.err
    assert "bad system call" in result.err


def test_the_first_argument_need_not_be_the_path(runtime, journal):
    # Docker's libnetwork-setkey hook.
    path = f"{journal.bundle.path}/states/name"
    bundle = journal.bundle.hook("prestart", "/bin/bash")
    bundle.config["hooks"]["prestart"][0]["args"] = ["other-name", "-c", f"echo $0 >{path}"]
    runtime.create(bundle)
    assert text_of(path) == "other-name\n"


def test_hooks_of_one_kind_run_in_the_order_of_the_list(runtime, journal):
    for number in "123":
        journal.bundle.hook("createRuntime", "/bin/sh", "-c", f"echo {number} >>{journal.path}")
    runtime.create(journal.bundle)

    assert journal.lines() == ["1", "2", "3"]


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_of_create_stops_the_container(runtime, journal, kind):
    journal.hook(kind, "exit 3")
    journal.hook("poststop")
    result = runtime.try_create(journal.bundle)

    assert result.code != 0
    assert runtime("state", journal.bundle.id).code != 0
    assert not os.path.exists(f"{journal.bundle.path}/pid")


def test_a_failing_start_container_hook_stops_the_container(runtime, journal):
    journal.hook("startContainer", "exit 3")
    container = runtime.create(journal.bundle.script("echo program >>/journal"))
    failed = container.verb("start")
    known_of_runc(runtime, "start takes the end of init for a start", seen=failed.code == 0)

    assert failed.code != 0
    assert journal.lines() == ["startContainer"]
    assert runtime("state", container.id).code == 1


def test_a_failing_poststop_hook_does_not_stop_delete(runtime, journal):
    journal.hook("poststop", "exit 3")
    journal.bundle.hook("poststop", "/bin/sh", "-c", f"echo second >>{journal.path}")
    container = runtime.create(journal.bundle).start()
    container.wait()
    container.delete()

    assert container.verb("state").code != 0
    assert journal.lines()[0] == "poststop"


def test_the_later_hooks_do_not_run_after_a_failing_one(runtime, journal):
    journal.hook("prestart", "exit 3")
    journal.hook("createRuntime")
    runtime.try_create(journal.bundle)

    assert "createRuntime" not in journal.lines()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_takes_too_long_is_killed(runtime, journal, kind):
    journal.bundle.hook(kind, "/bin/sleep", "1000", timeout=1)
    result = runtime.try_create(journal.bundle)

    assert result.code != 0


def test_a_hook_within_its_timeout_succeeds(runtime, journal):
    journal.hook("createRuntime", timeout=30)

    assert runtime.try_create(journal.bundle).code == 0


def test_a_missing_hook_is_a_failure(runtime, journal):
    journal.bundle.hook("createRuntime", "/no/such/hook")

    assert runtime.try_create(journal.bundle).code != 0


def test_a_relative_hook_is_refused(runtime, journal):
    journal.bundle.hook("createRuntime", "bin/true")
    result = runtime.try_create(journal.bundle)
    known_of_runc(runtime, "it runs relative hooks", seen=result.code == 0)

    assert result.code != 0


def test_a_failing_hook_is_reported_with_its_path(runtime, journal):
    journal.bundle.hook("createRuntime", "/bin/false")

    result = runtime.try_create(journal.bundle)
    known_of_runc(runtime, "it gives only the number", seen="/bin/false" not in result.err)

    assert "/bin/false" in result.err


def test_the_working_directory_of_a_host_hook_is_the_bundle(runtime, journal):
    path = f"{journal.bundle.path}/states/cwd"
    journal.hook("createRuntime", f"pwd >{path}")
    runtime.create(journal.bundle)
    found = text_of(path).strip()
    known_of_runc(runtime, "hooks run in the caller's directory", seen=found == os.getcwd())

    assert found == journal.bundle.path


def test_poststop_hooks_run_on_delete_force(runtime, journal):
    journal.hook("poststop")
    container = runtime.started(journal.bundle)
    container.delete("--force").ok()

    assert journal.lines() == ["poststop"]


def test_hooks_hold_no_descriptor_of_the_runtime(runtime, journal):
    path = f"{journal.bundle.path}/states/fds"
    journal.hook("createRuntime", f"ls -l /proc/self/fd >{path}", env=["PATH=/bin:/usr/bin"])
    runtime.create(journal.bundle)
    with open(path) as text:
        numbers = [line.split()[-3] for line in text if "->" in line and "/proc/" not in line]

    assert set(numbers) <= {"0", "1", "2"}


def test_create_container_hooks_start_in_the_rootfs(runtime, journal):
    path = f"{journal.bundle.path}/states/cwd"
    journal.hook("createContainer", f"pwd -P >{path}")
    runtime.create(journal.bundle)

    assert [os.path.realpath(journal.bundle.rootfs)] == text_of(path).split()
