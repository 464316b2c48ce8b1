"""`run` in the foreground and detached: stdio, exit codes, signals, pid file."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess

import pytest

from integration.runtime import TIMEOUT_S


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 255])
def test_run_returns_the_exit_code_of_the_program(runtime, bundle, code):
    assert runtime.run(bundle, f"exit {code}").code == code


def test_run_returns_128_plus_the_signal_that_killed_the_program(runtime, bundle):
    # Pid 1 of a pid namespace cannot kill itself.
    bundle.without_namespace("pid")

    assert runtime.run(bundle, "kill -9 $$").code == 128 + signal.SIGKILL


def test_run_passes_stdout_and_stderr_through_apart(runtime, bundle):
    result = runtime.run(bundle, "echo out; echo err >&2")

    assert (result.out, result.err) == ("out\n", "err\n")


def test_run_passes_stdin_through(runtime, bundle):
    assert runtime.run(bundle, "cat", text="hello").out == "hello"


def test_run_passes_every_byte_through(runtime, bundle):
    assert runtime.run(bundle, "wc -c", text="x" * 1_000_000).out.strip() == "1000000"


def test_run_leaves_no_container_behind(runtime, bundle):
    runtime.run(bundle, "true").ok()

    assert runtime("state", bundle.id).code == 1


def test_run_on_success_adds_nothing_to_the_output(runtime, bundle):
    result = runtime.run(bundle, "true")

    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize("flag", ["--detach", "-d"])
def test_run_detached_returns_while_the_container_runs(runtime, bundle, flag):
    runtime.run(bundle, "exec sleep 1000", flag, "--pid-file", f"{bundle.path}/pid").ok()

    assert '"running"' in runtime("state", bundle.id).out


def test_run_writes_the_pid_file(runtime, bundle):
    path = f"{bundle.path}/pid"
    runtime.run(bundle, "exec sleep 1000", "--detach", "--pid-file", path).ok()
    with open(path) as text:
        pid = text.read()

    assert pid.isascii()
    assert pid.isdigit()
    assert json.loads(runtime("state", bundle.id).out)["pid"] == int(pid)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_run_forwards_signals_to_the_program(runtime, bundle, name):
    script = f"trap 'exit 7' {name}; echo ready; while :; do sleep 1000 & wait; done"
    bundle.script(script).save()
    runtime.made.append(bundle.id)
    argv = runtime.argv("run", "--bundle", bundle.path, bundle.id)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        readable, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)

        assert readable
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.wait(TIMEOUT_S) == 7


def test_run_returns_when_init_ends_though_a_child_lives(runtime, bundle):
    assert runtime.run(bundle, "sleep 1000 >/dev/null 2>&1 & exit 4").code == 4


def test_run_survives_a_child_that_keeps_the_output_open(runtime, bundle):
    # The pid namespace dies with init, so that nobody holds the pipe.
    read_fd, write_fd = os.pipe()
    result = runtime.run(bundle, "sleep 1000 & exit 4", stdout=write_fd)
    os.close(write_fd)
    readable, _, _ = select.select([read_fd], [], [], TIMEOUT_S)

    assert result.code == 4
    assert readable
    assert os.read(read_fd, 1) == b""
    os.close(read_fd)


def test_keep_leaves_the_stopped_container(runtime, bundle):
    # BuildKit: `run --keep`, then `delete`.
    if "--keep" not in runtime("run", "--help").out:
        pytest.skip("this runtime has no run --keep")
    runtime.run(bundle, "exit 5", "--keep")

    assert '"stopped"' in runtime("state", bundle.id).out
