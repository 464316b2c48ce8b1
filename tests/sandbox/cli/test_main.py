"""The program itself: its table, its help, and how it says that something has failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

import aisbx_runtime
from aisbx_runtime.sandbox.cli import main, table
from aisbx_runtime.sandbox.cli.call import Call, command
from aisbx_runtime.sandbox.errors import InputError
from tests.schema import ROOT, check_json


class Said:
    def __init__(self, code, captured):
        self.code = code
        self.out = captured.out
        self.err = captured.err


@pytest.fixture
def aisbx(capsys):
    """Call the program in this process."""

    def call(*words):
        code = main.main(list(words), Call())
        return Said(code, capsys.readouterr())

    return call


@pytest.fixture
def listed(monkeypatch):
    """List a command made by the test, `image trial`."""

    def add(made):
        monkeypatch.setitem(table.COMMANDS, "image trial", ("image.trial", "try something"))
        module = type(sys)("aisbx_runtime.sandbox.cli.image.trial")
        module.command = made
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return add


@pytest.mark.parametrize("words", list(table.COMMANDS))
def test_every_command_of_the_table_can_be_called(words, aisbx):
    said = aisbx(*words.split(), "--help")

    assert said.code == 0
    assert f"Usage: aisbx {words}" in said.out


@pytest.mark.parametrize("words", [[], ["--help"], *[[group] for group in table.GROUPS]])
def test_help_lists_the_commands_and_loads_none(words, aisbx, monkeypatch):
    for module, _ in table.COMMANDS.values():
        monkeypatch.delitem(sys.modules, f"aisbx_runtime.sandbox.cli.{module}", raising=False)
    group = words[0] if words and words[0] in table.GROUPS else ""
    said = aisbx(*words)
    lines = [line.split()[0] for line in said.out.splitlines() if line.startswith("  ")]

    assert said.code == 0
    assert set(table.names_in(group)) <= set(lines)
    assert [] == [
        module
        for module, _ in table.COMMANDS.values()
        if f"aisbx_runtime.sandbox.cli.{module}" in sys.modules
    ]


def test_every_help_is_one_line_that_fits():
    for words in (*table.GROUPS, *table.COMMANDS):
        assert 0 < len(table.help_of(words)) <= 60


def test_the_version_is_the_runtimes(aisbx):
    assert aisbx("--version").out == f"aisbx version {aisbx_runtime.__version__}\n"


@pytest.mark.parametrize("words", [["nosuch"], ["image", "nosuch"], ["--nosuch"]])
def test_wrong_words_are_an_error_with_code_2(words, aisbx):
    said = aisbx(*words)

    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("aisbx: ")
    assert "  hint: see aisbx" in said.err


@pytest.mark.parametrize("words", [["--json", "nosuch"], ["image", "--json", "nosuch"],
                                   ["--nosuch", "--json"]])  # fmt: skip
def test_wrong_words_with_json_are_one_object(words, aisbx):
    said = aisbx(*words)

    assert said.out == ""
    check_json("error", json.loads(said.err))


@pytest.mark.parametrize("place", ["before", "after"])
def test_common_options_stand_before_the_command_or_after_it(place, aisbx, listed, tmp_path):
    @command("Try.")
    def trial(call):
        call.output().result({"store": call.store().path})

    listed(trial)
    options = ["--json", "--store", f"{tmp_path}/store"]
    words = ["image", "trial"]
    said = aisbx(*(options + words if place == "before" else words + options))

    assert json.loads(said.out) == {"store": f"{tmp_path}/store"}


def failing(*, note=False):
    @command("Try.")
    def trial(call):
        error = InputError("no such image", where="a\x1b[2Jb", why="the name", hint="pull it")
        if note:
            error.add_note("and the scratch directory is left")
        raise error

    return trial


def test_a_failure_is_told_with_its_command_and_hint(aisbx, listed):
    listed(failing(note=True))
    said = aisbx("image", "trial")

    assert said.code == 1
    assert said.err.splitlines() == [
        "aisbx: image trial: no such image (a\\x1b[2Jb): the name",
        "  and the scratch directory is left",
        "  hint: pull it",
    ]


def test_a_failure_with_json_has_its_fields(aisbx, listed):
    listed(failing())
    error = json.loads(aisbx("image", "trial", "--json").err)
    check_json("error", error)

    assert error["error"]["command"] == "image trial"
    assert error["error"]["why"] == "the name"


def test_what_a_command_says_of_its_exit_code_is_that_of_the_program(aisbx, listed):
    @command("Try.")
    def trial(call):
        raise click.exceptions.Exit(7)

    listed(trial)

    assert aisbx("image", "trial").code == 7


def test_progress_with_json_is_lines(aisbx, listed):
    @command("Try.")
    def trial(call):
        with call.output().progress() as progress:
            progress.step("copying", 10)
            progress.advance(10)

    listed(trial)
    lines = [json.loads(line) for line in aisbx("image", "trial", "--json").err.splitlines()]
    for line in lines:
        check_json("progress", line)

    assert lines[-1] == {"progress": {"step": "copying", "done_bytes": 10, "total_bytes": 10}}


def test_a_table_in_a_pipe_is_aligned_lines(aisbx, listed):
    @command("Try.")
    def trial(call):
        call.output().table([], ("name", "size"), [("a", "1 B"), ("long\x07er", "20 B")])

    listed(trial)

    assert aisbx("image", "trial").out == "NAME        SIZE\na           1 B\nlong\\x07er  20 B\n"


def test_without_click_the_program_says_what_to_install():
    code = (
        "import sys\n"
        "sys.modules['click'] = None\n"
        f"sys.path.insert(0, {ROOT!r})\n"
        "from aisbx_runtime.sandbox.start import main\n"
        "main('', '', ['image'])\n"
    )
    done = subprocess.run(
        [os.path.realpath(sys.executable), "-IS", "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "apt-get install python3-click" in done.stderr
    assert "Traceback" not in done.stderr
