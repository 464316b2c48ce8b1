"""Running one hook, with real programs: state, environment, directory, time-out, what it said."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci import hooks
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.spec.model import Hook

STATE = b'{"id":"x"}'


def shell(script, *args, **more):
    return Hook("/bin/sh", ("sh", "-c", script, *args), **more)


def run(hook, state=STATE, bundle=None):
    hooks.run("prestart", hook, state, bundle)


def refused(hook, state=STATE) -> Failure:
    with pytest.raises(Failure) as caught:
        run(hook, state)
    return caught.value


def test_a_hook_reads_the_state_and_its_end(tmp_path):
    run(shell(f"cat > {tmp_path}/state"))

    assert STATE == (tmp_path / "state").read_bytes()


def test_a_long_state_arrives_whole(tmp_path):
    state = b"x" * 1_000_000
    run(shell(f"cat > {tmp_path}/state"), state)

    assert state == (tmp_path / "state").read_bytes()


@pytest.mark.parametrize("state", [b"x" * 1_000_000, STATE, b""])
def test_a_hook_need_not_read_its_state(state):
    run(shell("exec 0<&-; exit 0"), state)


def test_its_environment_is_its_own_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    run(Hook("/usr/bin/env", ("env",), ("A=1=2", "B=", "A=3")))
    run(Hook("/bin/sh", ("sh", "-c", f"/usr/bin/env -u PWD > {tmp_path}/env"), ("A=1=2", "B=")))
    lines = (tmp_path / "env").read_text().splitlines()

    assert {"A=1=2", "B="} == {line for line in lines if not line.startswith(("_=", "SHLVL="))}


def test_its_arguments_are_given_as_they_are(tmp_path):
    run(Hook("/bin/sh", ("other name", "-c", f'echo "$0" "$1" > {tmp_path}/args', "a", "b c")))

    assert "a b c\n" == (tmp_path / "args").read_text()


def test_without_arguments_its_name_is_its_path(tmp_path):
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$0" > {tmp_path}/name\n')
    script.chmod(0o755)
    run(Hook(f"{script}"))

    assert f"{script}\n" == (tmp_path / "name").read_text()


def test_it_runs_in_the_bundle(tmp_path):
    run(shell("pwd > here"), bundle=f"{tmp_path}")

    assert f"{tmp_path}\n" == (tmp_path / "here").read_text()


def test_no_fd_but_stdio_reaches_it(tmp_path):
    run(shell(f"ls /proc/self/fd > {tmp_path}/fds"))

    # ls itself opens one: the directory.
    assert ["0", "1", "2", "3"] == (tmp_path / "fds").read_text().split()


def test_a_hook_that_fails_is_named_with_the_last_it_said():
    error = refused(shell("echo first; echo 'the last' >&2; exit 3"))

    assert "error running hook: prestart /bin/sh" == error.what
    assert "exit status 3: the last" == error.why


def test_a_killed_hook_is_told_by_its_signal():
    assert "signal 15: terminated" == refused(shell("kill -TERM $$")).why


def test_a_program_that_is_not_there_is_told_by_the_name_of_the_error():
    error = refused(Hook("/no/such/hook"))

    assert "exit status 127: execve: ENOENT" == error.why


@pytest.mark.parametrize("entry", ["=x", ""])
def test_an_environment_without_names_is_a_reason_that_is_told(entry):
    error = refused(Hook("/bin/true", (), (entry,)))

    assert error.why != "exit status 127"


def test_of_much_output_the_last_line_is_told():
    # More than one read, less than the pipe holds: it ends before anything has been read.
    script = "i=0; while [ $i -lt 1000 ]; do echo 'a line of output'; i=$((i+1)); done; echo end"

    assert "exit status 1: end" == refused(shell(f"{script}; exit 1")).why


def test_output_without_end_is_neither_kept_nor_waited_for():
    # 64 MB through a pipe of 64 kB: whoever kept it all would be seen by the memory limit.
    error = refused(shell("head -c 64000000 /dev/zero; echo; echo end; exit 1"))

    assert error.why.endswith("end")


def test_a_background_process_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    run(shell(f"(cat {tmp_path}/fifo) & exit 0"))
    # It still holds the pipe; let it go.
    fd = os.open(tmp_path / "fifo", os.O_WRONLY)
    os.close(fd)


@pytest.mark.parametrize("state", [STATE, b"x" * 1_000_000])
def test_a_hook_beyond_its_timeout_is_killed(state, tmp_path):
    error = refused(shell(f"echo $$ > {tmp_path}/pid; exec sleep 1000", timeout=1), state)

    assert "took longer than its timeout of 1 s" in error.what
    pid = (tmp_path / "pid").read_text().strip()
    assert not os.path.exists(f"/proc/{pid}")


def test_nothing_is_left_open_by_good_or_bad_hooks():
    before = os.listdir("/proc/self/fd")
    run(shell("exit 0"))
    refused(shell("exit 1"))
    refused(shell("sleep 1000", timeout=1), b"x" * 1_000_000)
    refused(Hook("/no/such/hook"), b"x" * 1_000_000)

    assert before == os.listdir("/proc/self/fd")


def test_ignored_signals_are_not_passed_on(tmp_path):
    # CPython ignores SIGPIPE and SIGXFSZ; a shell cannot undo that for its children.
    run(shell(f"grep SigIgn /proc/self/status > {tmp_path}/ignored"))
    ignored = int((tmp_path / "ignored").read_text().split()[1], 16)

    assert 0 == ignored & (1 << 12 | 1 << 24)
