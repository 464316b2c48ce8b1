"""`exec`: what the new process is born into - its session, terminal, cgroup, filter, scheduler."""

from __future__ import annotations

import json

import pytest

from integration import host  # noqa: F401 (for the marks)
from integration.differences import known_of_runc
from integration.host import cgroup_file
from integration.needs import controllers
from integration.terminal import OnPty

# As proc_pid_stat(5) counts: pid, ppid, pgrp, session, tty_nr, tpgid.
STAT = "cut -d' ' -f1,4-8 /proc/self/stat"


@pytest.fixture
def container(runtime, bundle):
    return runtime.started(bundle)


def on_terminal(container, script):
    argv = container.runtime.argv("exec", "--tty", container.id, "/bin/sh", "-c", script)
    with OnPty(argv) as person:
        return person.finish()


def refusing(*names, action="SCMP_ACT_ERRNO"):
    """Return a filter that is installed before the capabilities go, as no_new_privs is off."""
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": list(names), "action": action}],
    }


@pytest.fixture
def filtered(runtime, bundle):
    """Return a function that starts a container under a filter without no_new_privs."""

    def start(profile):
        bundle.config["process"]["noNewPrivileges"] = False
        bundle.config["linux"]["seccomp"] = profile
        return runtime.started(bundle)

    return start


def test_the_process_leads_a_session_of_its_own(container):
    pid, parent, group, session, tty, _ = (
        container.exec("/bin/sh", "-c", f"exec {STAT}").ok().out.split()
    )

    assert (parent, group, session, tty) == ("0", pid, pid, "0")


def test_the_process_is_the_foreground_of_its_terminal(container):
    _, text = on_terminal(container, f"exec {STAT} && exit 9")
    pid, parent, group, session, tty, foreground = text.split()

    assert (parent, group, session, foreground) == ("0", pid, pid, pid)
    assert tty != "0"


def test_an_interrupt_on_its_terminal_reaches_it(container):
    argv = container.runtime.argv(
        "exec", "--tty", container.id, "/bin/sh", "-c", "echo on; sleep 1000"
    )
    with OnPty(argv) as person:
        person.expect("on")
        person.type("\x03")
        code, _ = person.finish()

    assert code == 130


@pytest.mark.parametrize("tty", [False, True], ids=["no terminal", "terminal"])
@pytest.mark.parametrize("name", ["clone", "setsid", "ioctl"])
def test_it_works_under_a_filter_that_forbids_what_a_fork_takes(filtered, name, tty):
    container = filtered(refusing(name))
    code = (
        on_terminal(container, "exit 5")[0]
        if tty
        else container.exec("/bin/sh", "-c", "exit 5").code
    )

    assert code == 5


def test_a_filter_that_kills_for_a_fork_lets_it_live(filtered):
    container = filtered(
        refusing("clone", "clone3", "fork", "vfork", action="SCMP_ACT_KILL_PROCESS")
    )

    assert container.exec("/bin/echo", "on").ok().out == "on\n"


def test_it_is_in_its_pid_namespace_when_the_filter_forbids_forks(filtered):
    container = filtered(refusing("clone"))

    assert container.exec("/bin/sh", "-c", f"exec {STAT}").ok().out.split()[1] == "0"
    assert container.exec("/bin/readlink", "/proc/self/ns/pid").ok().out.strip() == (
        container.namespace("pid")
    )


@controllers("pids")
def test_one_free_place_is_enough(runtime, bundle):
    # The container's init and one more.
    bundle.resources(pids={"limit": 2})
    container = runtime.started(bundle)
    limit = cgroup_file("pids", bundle.cgroup, "pids.max", "pids.max")

    assert limit == "2"
    assert container.exec("/bin/echo", "on").ok().out == "on\n"


def test_a_policy_that_ends_with_a_fork_is_still_that_of_the_process(container):
    process = {
        "args": ["/bin/sh", "-c", "exec cat /proc/self/sched"], "cwd": "/",
        "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
    }  # fmt: skip
    path = container.bundle.file("../process.json", json.dumps(process))
    shown = container.runtime("exec", "--process", path, container.id).ok().out
    fields = dict(line.split(":", 1) for line in shown.splitlines() if line.count(":") == 1)
    found = {name.strip(): value.strip() for name, value in fields.items()}

    known_of_runc(container.runtime, "has no scheduler before 1.2", seen=found["policy"] == "0")
    assert (found["policy"], found["prio"]) == ("3", "125")


def test_one_that_comes_too_late_says_so(runtime, container):
    container.kill("KILL").ok()
    container.wait_ended()
    result = runtime("exec", container.id, "/bin/true")

    assert result.code != 0
