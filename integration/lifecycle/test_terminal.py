"""Terminals: --console-socket as engines use it, and a person's pty in the foreground."""

from __future__ import annotations

import os
import stat

import pytest

from integration import needs
from integration.differences import known_of_runc
from integration.terminal import ConsoleSocket, OnPty, read_until


@pytest.fixture
def console(bundle):
    made = ConsoleSocket(f"{bundle.path}/console")
    yield made
    made.close()


@pytest.fixture
def terminal(bundle):
    """A bundle whose program wants a terminal."""
    bundle.config["process"]["terminal"] = True
    return bundle


def created(runtime, terminal, console, script):
    """Create as conmon and the shim do: they accept only after create has returned."""
    container = runtime.create(terminal.script(script), "--console-socket", console.path)
    return container, console.take()


def test_exactly_one_descriptor_in_one_message_is_sent(runtime, terminal, console):
    created(runtime, terminal, console, "true")

    assert len(console.fds) == 1
    assert 1 <= len(console.message) <= 4095
    assert console.rest == b""


def test_the_message_names_the_pty(runtime, terminal, console):
    created(runtime, terminal, console, "true")

    assert console.message.startswith(b"/dev/p")


def test_the_descriptor_is_a_pty_master(runtime, terminal, console):
    _, master = created(runtime, terminal, console, "true")

    assert os.isatty(master)
    assert stat.S_ISCHR(os.fstat(master).st_mode)


def test_the_program_writes_to_the_pty(runtime, terminal, console):
    container, master = created(runtime, terminal, console, "echo hello")
    container.start()

    assert b"hello" in read_until(master, b"hello")


def test_the_program_reads_from_the_pty(runtime, terminal, console):
    container, master = created(runtime, terminal, console, "read line; echo got $line")
    container.start()
    os.write(master, b"abc\n")

    assert b"got abc" in read_until(master, b"got abc")


def test_the_three_standard_descriptors_are_the_terminal(runtime, terminal, console):
    script = "test -t 0 && test -t 1 && test -t 2 && echo yes:all"
    container, master = created(runtime, terminal, console, script)
    container.start()

    assert b"yes:all" in read_until(master, b"all")


def test_the_terminal_is_the_controlling_one(runtime, terminal, console):
    container, master = created(runtime, terminal, console, "echo hello >/dev/tty")
    container.start()

    assert b"hello" in read_until(master, b"hello")


def test_dev_console_is_the_terminal(runtime, terminal, console):
    container, master = created(runtime, terminal, console, "echo hello >/dev/console")
    container.start()

    assert b"hello" in read_until(master, b"hello")


def test_dev_console_lies_in_the_devpts_of_the_container(runtime, terminal, console):
    # CVE-2025-52565: it must be the pty, not what somebody put in its place.
    script = "grep ' /dev/console ' /proc/self/mountinfo; echo END"
    container, master = created(runtime, terminal, console, script)
    container.start()

    assert b" - devpts " in read_until(master, b"END")


def test_tty_tells_a_path_that_exists_inside(runtime, terminal, console):
    container, master = created(runtime, terminal, console, "tty; test -c $(tty) && echo E:ND")
    container.start()

    assert b"/dev/pts/0" in read_until(master, b"E:ND")


def test_an_interrupt_typed_reaches_the_program(runtime, terminal, console):
    script = "trap 'echo int:errupted; exit 9' INT; echo rea:dy; while :; do sleep 1; done"
    container, master = created(runtime, terminal, console, script)
    container.start()
    read_until(master, b"rea:dy")
    os.write(master, b"\x03")

    assert b"int:errupted" in read_until(master, b"int:errupted")
    assert container.wait() == 9


def test_the_size_of_the_console_is_set(runtime, terminal, console):
    terminal.config["process"]["consoleSize"] = {"height": 33, "width": 101}
    container, master = created(runtime, terminal, console, "stty size; echo E:ND")
    container.start()

    assert b"33 101" in read_until(master, b"E:ND")


def test_a_console_size_of_zero_is_ignored(runtime, terminal, console):
    # docker exec sends {0, 0}.
    terminal.config["process"]["consoleSize"] = {"height": 0, "width": 0}
    container, _ = created(runtime, terminal, console, "true")

    assert container.start().wait() == 0


@needs.ids
def test_the_terminal_belongs_to_the_user_of_the_process(runtime, terminal, console):
    terminal.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    container, master = created(runtime, terminal, console, "stat -c %u:%g $(tty); echo E:ND")
    container.start()

    assert b"1000:5" in read_until(master, b"E:ND")


def test_init_of_a_created_container_holds_only_the_terminal(runtime, terminal, console):
    # The shim reads stdout and stderr of create until their end.
    read_fd, write_fd = os.pipe()
    runtime.create(terminal.script("true"), "--console-socket", console.path, stdout=write_fd)
    os.close(write_fd)
    master = console.take()
    left = os.read(read_fd, 1)
    os.close(read_fd)

    assert left == b""
    assert os.isatty(master)


def test_a_terminal_without_a_console_socket_is_refused_by_create(runtime, terminal):
    result = runtime.try_create(terminal)

    assert result.code != 0
    assert runtime("state", terminal.id).code != 0


def test_a_console_socket_without_a_terminal_is_refused(runtime, bundle, console):
    result = runtime.try_create(bundle, "--console-socket", console.path)

    assert result.code != 0
    assert runtime("state", bundle.id).code != 0


def test_a_console_socket_that_is_missing_is_a_failure(runtime, terminal):
    result = runtime.try_create(terminal, "--console-socket", f"{terminal.path}/nosuch")

    assert result.code != 0
    assert runtime("state", terminal.id).code != 0


def test_detached_run_sends_the_terminal(runtime, terminal, console):
    flags = ["--detach", "--console-socket", console.path]
    runtime.run(terminal, "echo hello", *flags).ok()

    assert b"hello" in read_until(console.take(), b"hello")


def on_pty(runtime, bundle, script):
    bundle.script(script).save()
    runtime.made.append(bundle.id)
    return OnPty(runtime.argv("run", "--bundle", bundle.path, bundle.id))


def test_run_on_a_pty_returns_the_exit_code(runtime, terminal):
    with on_pty(runtime, terminal, "echo hello; exit 7") as person:
        code, text = person.finish()

    assert (code, "hello" in text) == (7, True)


def test_run_on_a_pty_takes_what_is_typed(runtime, terminal):
    with on_pty(runtime, terminal, "read line; echo got:$line") as person:
        person.type("abc\n")
        person.expect("got:abc")


def test_run_on_a_pty_passes_the_interrupt_key_to_the_program(runtime, terminal):
    script = "trap 'exit 9' INT; echo rea:dy; while :; do sleep 1; done"
    with on_pty(runtime, terminal, script) as person:
        person.expect("rea:dy")
        person.type("\x03")

        assert person.finish()[0] == 9


def test_run_on_a_pty_passes_a_change_of_the_window_size(runtime, terminal):
    script = "trap 'stty size' WINCH; echo rea:dy; while :; do sleep 1000 & wait; done"
    with on_pty(runtime, terminal, script) as person:
        person.expect("rea:dy")
        person.resize(44, 111)
        person.expect("44 111")


def test_run_on_a_pty_restores_the_settings_of_the_terminal(runtime, terminal):
    with on_pty(runtime, terminal, "true") as person:
        before = person.settings()
        person.finish()

        assert person.settings()[:4] == before[:4]


def test_exec_on_a_pty_has_a_terminal(runtime, bundle):
    runtime.started(bundle)
    argv = runtime.argv("exec", "--tty", bundle.id, "/bin/sh", "-c", "tty; exit 6")
    with OnPty(argv) as person:
        code, text = person.finish()

    assert code == 6
    assert "/dev/pts/" in text


def test_exec_through_a_console_socket(runtime, bundle, console):
    runtime.started(bundle)
    flags = ["--tty", "--detach", "--console-socket", console.path]
    runtime("exec", *flags, bundle.id, "/bin/sh", "-c", "tty; echo E:ND").ok()

    assert b"/dev/pts/" in read_until(console.take(), b"E:ND")
    assert len(console.fds) == 1


def test_exec_in_a_container_with_a_terminal_gets_another_one(runtime, terminal, console):
    container, _ = created(runtime, terminal, console, "exec sleep 1000")
    container.start()
    with OnPty(runtime.argv("exec", "-t", terminal.id, "/bin/tty")) as person:
        code, text = person.finish()

    assert (code, text.strip()) == (0, "/dev/pts/1")


def test_no_pty_of_the_host_is_used(runtime, terminal, console):
    before = set(os.listdir("/dev/pts"))
    created(runtime, terminal, console, "true")

    assert set(os.listdir("/dev/pts")) == before


def test_a_read_only_dev_still_gets_its_console(runtime, terminal, console):
    for one in terminal.config["mounts"]:
        if one["destination"] == "/dev":
            one["options"].append("ro")
    container, master = created(runtime, terminal, console, "touch /dev/x || echo refused")
    container.start()

    assert b"refused" in read_until(master, b"refused")


def test_a_line_on_a_relayed_terminal_ends_in_one_newline(runtime, terminal):
    result = runtime.run(terminal, "echo one; echo two")
    known_of_runc(runtime, "needs a terminal of its own", seen="/dev/tty" in result.err)

    assert "one\ntwo\n" == result.ok().out


@pytest.mark.parametrize("size", [{"height": 33, "width": 101}, {"height": 0, "width": 0}])
def test_without_a_terminal_the_size_of_the_console_is_ignored(runtime, bundle, size):
    bundle.config["process"]["consoleSize"] = size

    assert runtime.run(bundle, "test -t 0 || echo none").ok().out == "none\n"
