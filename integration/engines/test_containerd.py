"""containerd's shim through `ctr run --runc-binary`."""

from __future__ import annotations

import os

import pytest

from integration import needs
from integration.runtime import call
from integration.terminal import OnPty

# ctr asks for cpu shares in every container.
pytestmark = needs.controllers("cpu")


def test_run_passes_output(ctr):
    assert ctr.run([], "echo", "hi").ok().out == "hi\n"


@pytest.mark.parametrize("code", [0, 3, 127, 255])
def test_run_returns_the_exit_code_of_the_program(ctr, code):
    assert ctr.run([], "sh", "-c", f"exit {code}").code == code


def test_run_passes_input(ctr):
    assert ctr.run([], "head", "-n", "1", text="hello\n").out == "hello\n"


def test_run_passes_errors_apart(ctr):
    result = ctr.run([], "sh", "-c", "echo out; echo err >&2")

    assert (result.out, result.err) == ("out\n", "err\n")


def test_a_missing_program_fails_with_the_words_of_the_log(ctr):
    # The shim takes the message from the last object of log.json.
    result = ctr.run([], "nosuch")

    assert result.code != 0
    assert "OCI runtime create failed" in result.err
    assert "executable file not found in $PATH" in result.message


def test_run_on_a_terminal(ctr):
    argv = ctr.argv(["-t", "--rm"], ctr.name(), "sh", "-c", "tty; exit 5")
    with OnPty(argv) as person:
        code, text = person.finish()

    assert (code, "/dev/pts/0" in text) == (5, True)


def test_a_shell_on_a_terminal_takes_what_is_typed(ctr):
    with OnPty(ctr.argv(["-t", "--rm"], ctr.name(), "sh")) as person:
        person.expect("# ")
        person.type("echo got:$((6*7))\n")
        person.expect("got:42")
        person.type("exit 4\n")

        assert person.finish()[0] == 4


def test_a_container_runs_in_the_background(ctr):
    assert ctr.status(ctr.up()) == "RUNNING"


def test_null_io(ctr):
    # /dev/null, opened for reading, on 0, 1 and 2.
    assert ctr.status(ctr.up("--null-io")) == "RUNNING"


def test_null_io_in_the_foreground_returns_the_exit_code(ctr):
    assert ctr.run(["--null-io"], "sh", "-c", "exit 6").code == 6


def test_exec_returns_output_and_exit_code(ctr):
    name = ctr.up()
    result = ctr("tasks", "exec", "--exec-id", "e1", name, "sh", "-c", "echo hi; exit 3")

    assert (result.code, result.out) == (3, "hi\n")


def test_exec_passes_input(ctr):
    words = ["tasks", "exec", "--exec-id", "e1", ctr.up(), "head", "-n", "1"]

    assert ctr(*words, text="hello\n").out == "hello\n"


def test_exec_of_a_missing_program_fails(ctr):
    result = ctr("tasks", "exec", "--exec-id", "e1", ctr.up(), "nosuch")

    assert result.code != 0
    assert "executable file not found in $PATH" in result.message


def test_exec_on_a_terminal(ctr):
    words = ["tasks", "exec", "-t", "--exec-id", "e1", ctr.up(), "sh", "-c", "tty; exit 5"]
    with OnPty([*ctr.prefix, *words]) as person:
        code, text = person.finish()

    assert (code, "/dev/pts/" in text) == (5, True)


def test_two_execs_run_side_by_side(ctr):
    name = ctr.up()
    ctr("tasks", "exec", "-d", "--exec-id", "e1", name, "sleep", "1000").ok()
    result = ctr("tasks", "exec", "--exec-id", "e2", name, "pidof", "sleep").ok()

    assert len(result.out.split()) == 2


def test_ps_lists_the_processes(ctr):
    name = ctr.up()
    ctr("tasks", "exec", "-d", "--exec-id", "e1", name, "sleep", "1000").ok()

    assert len(ctr("tasks", "ps", name).ok().lines) == 3  # a head and two


@pytest.mark.parametrize("name", ["SIGKILL", "9"])
def test_kill_ends_a_container(ctr, name):
    container = ctr.up()
    ctr("tasks", "kill", "--signal", name, container).ok()
    result = ctr("tasks", "delete", container)

    assert "exit code 137" in result.err
    assert ctr.status(container) == ""


def test_kill_all(ctr):
    container = ctr.up(command=("sh", "-c", "sleep 1000 & exec sleep 1001"))
    ctr("tasks", "kill", "--all", "--signal", "9", container).ok()

    assert "exit code 137" in ctr("tasks", "delete", container).err


def test_delete_force_of_a_running_task(ctr):
    container = ctr.up()
    ctr("tasks", "delete", "--force", container)

    assert ctr.status(container) == ""


def test_kill_of_an_ended_task_is_not_found(ctr):
    container = ctr.up(command=("sh", "-c", "exit 0"))
    argv = [*ctr.prefix, "tasks", "kill", "--signal", "9", container]
    script = 'while "$@" 2>/dev/null; do :; done; exec "$@"'
    result = call(["sh", "-c", script, "sh", *argv])

    assert "not found" in result.err


def test_pause_and_resume(ctr):
    container = ctr.up()
    ctr("tasks", "pause", container).ok()
    paused = ctr.status(container)
    ctr("tasks", "resume", container).ok()

    assert (paused, ctr.status(container)) == ("PAUSED", "RUNNING")


def test_a_failing_pause_says_why(ctr):
    container = ctr.up()

    assert ctr("tasks", "resume", container).code != 0
    assert ctr.status(container) == "RUNNING"


def test_metrics_are_read_from_the_cgroups_of_init(ctr):
    assert ctr("tasks", "metrics", ctr.up()).code == 0


def test_the_host_network(ctr):
    result = ctr.run(["--net-host"], "readlink", "/proc/self/ns/net").ok()

    assert result.out.strip() == os.readlink("/proc/self/ns/net")


def test_a_read_only_root(ctr):
    assert ctr.run(["--read-only"], "touch", "/x").code != 0


def test_a_mount(ctr, tmp_path):
    (tmp_path / "file").write_text("text")
    option = f"type=bind,src={tmp_path},dst=/mnt,options=rbind:ro"

    assert ctr.run(["--mount", option], "cat", "/mnt/file").out == "text"


def test_the_default_filter(ctr):
    result = ctr.run(["--seccomp"], "grep", "Seccomp:", "/proc/self/status").ok()

    assert result.out.split()[1] == "2"


def test_privileged(ctr):
    assert ctr.run(["--privileged"], "mount", "-t", "tmpfs", "t", "/mnt").code == 0


def test_a_user_namespace(ctr):
    flags = ["--uidmap", "0:300000:65536", "--gidmap", "0:300000:65536"]

    assert ctr.run(flags, "cat", "/proc/self/uid_map").ok().out.split() == ["0", "300000", "65536"]


@needs.controllers("memory")
def test_a_memory_limit_kills(ctr):
    flags = ["--memory-limit", str(16 << 20)]

    assert ctr.run(flags, "tail", "-c", "200000000", "/dev/zero").code == 137


def test_a_container_without_a_cgroup_path(ctr):
    assert ctr.run(["--cgroup", ""], "true").code == 0
