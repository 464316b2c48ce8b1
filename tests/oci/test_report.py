"""What is said: results on stdout, a failure once on stderr and once in the log."""

from __future__ import annotations

import json
import os

import pytest

from aisbx_runtime.oci import report
from aisbx_runtime.oci.cli import GLOBAL_FLAGS
from aisbx_runtime.oci.errors import Failure
from aisbx_runtime.oci.flags import parse
from aisbx_runtime.oci.kernel import terminal

FAILURE = Failure("cannot do it", where="mounts[1]", why="open: ENOENT /x", hint="do another")
LINE = "cannot do it: open: ENOENT /x (mounts[1])"


def options(*words):
    return parse(list(words), GLOBAL_FLAGS, interspersed=False)


def test_a_result_goes_to_stdout_with_its_bytes(capfdbinary):
    report.out("h\u00e9 \udcff")

    assert (b"h\xc3\xa9 \xff", b"") == capfdbinary.readouterr()


def test_a_failure_is_one_line_on_stderr(capfd):
    report.failed(FAILURE, options(), "create")

    assert ("", f"aisbx-runtime: create: {LINE}\n") == capfd.readouterr()


def test_before_a_verb_is_known_none_is_named(capfd):
    report.failed(FAILURE, options(), "")

    assert f"aisbx-runtime: {LINE}\n" == capfd.readouterr().err


@pytest.mark.parametrize("odd", ["\n", "\r", "\x1b[2J", "\x07", "\x9b", "\u2028"])
def test_a_failure_is_one_line_whatever_it_quotes(capfd, odd):
    # An image's Cmd is quoted too: its bytes must not steer the terminal of whoever runs it.
    report.failed(Failure(f'exec: "a{odd}b"', where=odd, why=odd), options(), f"c{odd}")
    said = capfd.readouterr().err

    assert said.endswith("\n")
    assert said[:-1].isprintable()


def test_text_of_other_languages_stays_readable(capfd):
    report.failed(Failure("cannot bind /srv/donn\u00e9es"), options(), "create")

    assert "/srv/donn\u00e9es" in capfd.readouterr().err


def test_a_log_of_json_gets_one_object(tmp_path, capfd):
    log = tmp_path / "log"
    report.failed(FAILURE, options("--log", f"{log}", "--log-format", "json"), "create")
    (line,) = log.read_text().splitlines()
    entry = json.loads(line)

    assert ("error", LINE, "mounts[1]", "do another") == (
        entry["level"],
        entry["msg"],
        entry["where"],
        entry["hint"],
    )
    assert entry["time"].endswith("Z")


def test_a_log_of_text_gets_one_line_as_logrus_writes_it(tmp_path):
    log = tmp_path / "log"
    report.failed(Failure('exec: "x"'), options("--log", f"{log}"), "create")
    (line,) = log.read_text().splitlines()

    assert line.endswith(' level=error msg="exec: \\"x\\""')
    assert line.startswith('time="')


def test_a_log_is_appended_to(tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    report.failed(FAILURE, options("--log", f"{log}"), "create")

    assert log.read_text().startswith("before\n")
    assert 2 == len(log.read_text().splitlines())


def test_a_log_that_cannot_be_opened_changes_nothing(tmp_path, capfd):
    report.failed(FAILURE, options("--log", f"{tmp_path}/none/log"), "delete")

    assert f"aisbx-runtime: delete: {LINE}\n" == capfd.readouterr().err


def test_a_full_disk_changes_nothing(capfd):
    report.failed(FAILURE, options("--log", "/dev/full"), "create")

    assert f"aisbx-runtime: create: {LINE}\n" == capfd.readouterr().err


def test_details_are_only_logged_when_asked_for(tmp_path, capfd):
    log = tmp_path / "log"
    report.debug(options("--log", f"{log}"), "step 1")
    assert log.exists() is False
    report.debug(options("--log", f"{log}", "--debug"), "step 1")

    assert 'level=debug msg="step 1"' in log.read_text()
    report.debug(options("--debug"), "step 2")

    assert ("", "debug: step 2\n") == capfd.readouterr()


def test_a_warning_goes_to_the_log_and_never_to_stderr_by_itself(tmp_path, capfd):
    log = tmp_path / "log"
    report.warning(options(), "lost")
    report.warning(options("--log", f"{log}", "--log-format", "json"), "kept")

    assert ("", "") == capfd.readouterr()
    assert ("warning", "kept") == tuple(
        json.loads(log.read_text())[key] for key in ("level", "msg")
    )
    report.warning(options("--debug"), "told")

    assert ("", "warning: told\n") == capfd.readouterr()


def to_closed_fds():
    os.close(1)
    os.close(2)
    report.out("x")
    report.failed(FAILURE, options("--debug"), "create")


def test_closed_outputs_are_nobodys_problem():
    assert 0 == run_plain(to_closed_fds)


def run_plain(function) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def test_an_output_for_reading_only_is_nobodys_problem():
    def act():
        os.dup2(os.open("/dev/null", os.O_RDONLY), 1)
        report.out("x")

    assert 0 == run_plain(act)


def test_on_a_terminal_where_and_hint_have_lines_of_their_own():
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    peer = terminal.unlock_and_open_peer(master)

    def act():
        os.dup2(peer, 2)
        report.failed(FAILURE, options(), "create")

    assert 0 == run_plain(act)
    expected = (
        "aisbx-runtime: create: cannot do it: open: ENOENT /x\r\n"
        "  at:   mounts[1]\r\n"
        "  hint: do another\r\n"
    )

    assert expected == os.read(master, 4096).decode()
    os.close(master)
    os.close(peer)
