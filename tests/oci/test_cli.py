"""The program: the table of commands, dispatching, help, and the top that catches everything."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

from aisbx_runtime.oci import cli
from aisbx_runtime.oci.errors import RESERVED_WORDS, Failure
from aisbx_runtime.oci.flags import parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


def call(*words, before="", **options):
    """Call the program in a process of its own, as the launcher does."""
    code = (
        f"import sys; sys.path.insert(0, {ROOT!r})\n"
        f"from aisbx_runtime.oci import cli\n{before}\ncli.main(sys.argv[1:])"
    )
    argv = [sys.executable, "-I", "-c", code, *words]
    return Result(subprocess.run(argv, capture_output=True, text=True, check=False, **options))


@pytest.mark.parametrize("verb", sorted(cli.COMMANDS))
def test_every_command_has_its_module_with_a_main(verb):
    module = importlib.import_module(f"aisbx_runtime.oci.lifecycle.{cli.COMMANDS[verb].module}")

    assert callable(module.main)


@pytest.mark.parametrize("verb", sorted(cli.COMMANDS))
def test_names_of_flags_are_taken_once(verb):
    command = cli.COMMANDS[verb]
    module = importlib.import_module(f"aisbx_runtime.oci.lifecycle.{command.module}")
    flags = module.FLAGS if command.depends else command.flags
    names = [name for flag in flags for name in flag.names]

    assert len(names) == len(set(names))
    assert not {"help", "h"} & set(names)


# Where there is no criu its commands do not: integration/lifecycle/test_checkpoint.py.
@pytest.mark.parametrize("verb", sorted({"checkpoint", "restore"} ^ set(cli.COMMANDS)))
def test_every_command_explains_itself(verb):
    for flag in ("--help", "-h", "-help"):
        done = call(verb, flag)

        assert (0, "") == (done.code, done.err)
        assert done.out.startswith(f"usage: aisbx-runtime {verb}")


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)])
def test_help_lists_every_command(words):
    done = call(*words)

    assert 0 == done.code
    assert [] == [verb for verb in cli.COMMANDS if f"  {verb} " not in done.out]


def test_without_a_command_help_is_a_failure():
    done = call()

    assert (1, True) == (done.code, done.out.startswith("usage: "))


@pytest.mark.parametrize("words", [("--version",), ("-v",), ("--root", "/x", "-version")])
def test_the_version_is_what_docker_and_podman_read(words):
    done = call(*words)
    lines = done.out.splitlines()

    assert (0, "") == (done.code, done.err)
    assert lines[0].startswith("aisbx-runtime version ")
    assert any(line.startswith("spec: 1.") for line in lines)


def test_an_unknown_command_is_quoted():
    done = call("nosuch")

    assert (1, "") == (done.code, done.out)
    assert "aisbx-runtime: nosuch: unknown command 'nosuch'\n" == done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nosuch", "list"), "unknown flag --nosuch"),
        (("list", "--nosuch"), "unknown flag --nosuch"),
        (("state",), "state: expected ID, got 0 words"),
        (("state", "a", "b"), "state: expected ID, got 2 words"),
        (("list", "x"), "list: expected no argument, got 1 words"),
        (("--cgroup-manager", "x", "plan", "/"), "--cgroup-manager x: no such manager"),
        (("list", "--format", "x"), "--format x: no such format"),
        (("plan", "--format", "x"), "--format x: no such format"),
        (("kill", "x", "NOSUCH"), "unknown signal"),
        (("state", "../x"), "invalid container id '../x'"),
        (("exec", "--user", "root", "x", "true"), "container does not exist: x"),
    ],
)
def test_a_wrong_call_is_one_line(words, said, tmp_path):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "config.json").write_text('{"ociVersion": "1.2.1", "root": {"path": "r"}}')
    words = [f"{bundle}" if word == "/" else word for word in words]
    done = call("--root", f"{tmp_path}/root", *words)

    assert "" == done.out
    assert 1 == len(done.err.splitlines())
    assert said in done.err
    assert done.code in {1, 255}
    assert [] == [word for word in RESERVED_WORDS if word in done.err.lower()]


def test_podman_probes_for_checkpoint():
    assert 0 != call("checkpoint", "--help").code


def test_flags_of_the_program_come_before_the_command(tmp_path):
    done = call("-root", f"{tmp_path}", "--log-format=json", "--systemd-cgroup=false", "list", "-q")

    assert (0, "", "") == (done.code, done.out, done.err)


def test_a_failure_is_logged_once(tmp_path):
    log = tmp_path / "log"
    flags = ("--root", f"{tmp_path}/root", "--log", f"{log}", "--log-format", "json")
    call(*flags, "state", "x")

    assert 1 == len(log.read_text().splitlines())


def dying(raised):
    return f"""
def dispatch(options, helper):
    raise {raised}
cli._dispatch = dispatch
"""


def test_a_failure_brings_its_exit_code():
    done = call("x", before="from aisbx_runtime.oci.errors import Failure" + dying(
        'Failure("no", exit_code=7)'))  # fmt: skip

    assert (7, "aisbx-runtime: x: no\n") == (done.code, done.err)


def test_an_error_of_the_system_is_named():
    done = call("x", before=dying('FileNotFoundError(2, "No such file or directory", "/y")'))

    assert (1, "aisbx-runtime: x: cannot x: ENOENT /y\n") == (done.code, done.err)


def test_a_defect_is_told_with_its_place_and_no_traceback():
    done = call("x", before=dying('ZeroDivisionError("oops")'))

    assert (1, 1) == (done.code, len(done.err.splitlines()))
    assert "ZeroDivisionError: oops" in done.err


def test_an_interrupt_ends_as_a_shell_expects():
    assert (130, "") == (call("x", before=dying("KeyboardInterrupt()")).code, "")


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_closed_stdio_does_not_change_the_exit_code(fd, tmp_path):
    code = (
        f"import os, sys; os.close({fd}); sys.path.insert(0, {ROOT!r})\n"
        "from aisbx_runtime.oci.cli import main; main(sys.argv[1:])"
    )
    argv = [sys.executable, "-I", "-c", code, "--root", f"{tmp_path}", "list"]

    assert 0 == subprocess.run(argv, capture_output=True, check=False).returncode


def test_the_cgroup_manager_is_cgroupfs_unless_told():
    def manager(*words):
        options = parse(list(words), cli.GLOBAL_FLAGS, interspersed=False)
        return cli.Call(options, options, "create").cgroup_manager()

    assert ["cgroupfs", "systemd", "systemd", "disabled"] == [
        manager(),
        manager("--systemd-cgroup"),
        manager("--cgroup-manager=systemd"),
        manager("--cgroup-manager", "disabled"),
    ]


def test_a_defect_without_traceback_has_no_place():
    assert "" == cli._defect(ValueError("x")).where
    assert isinstance(cli._defect(ValueError("x")), Failure)
