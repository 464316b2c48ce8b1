"""The Makefile, the interpreter it builds for, and what CI calls."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text_of(path: str) -> str:
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def targets() -> set[str]:
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", text_of("Makefile"), re.MULTILINE)
    assert phony is not None
    return set(phony[1].replace("\\\n", " ").split()) - {".venv"}


def test_make_help_lists_every_supported_target() -> None:
    listed = set(re.findall(r"^  make ([a-z-]+) ", run("make", "help").stdout, re.MULTILINE))

    assert targets() == listed


def test_every_target_of_the_makefile_is_declared() -> None:
    written = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))

    assert targets() == written


def test_plain_make_is_make_help() -> None:
    assert run("make", "help").stdout == run("make").stdout


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = text_of(".ci/run").splitlines()[-1].removeprefix("exec ").removesuffix(" </dev/null")

    assert command == "make test"
    assert f"\n{command} " in text_of("README.md")


def test_the_version_is_said_once_and_the_same() -> None:
    written = re.search(r'^version = "(.+)"$', text_of("pyproject.toml"), re.MULTILINE)
    assert written is not None

    assert f'__version__ = "{written[1]}"' in text_of("aisbx_runtime/__init__.py")


def test_the_default_interpreter_is_an_absolute_path_that_runs() -> None:
    path = run("sh", "setup/interpreter.sh").stdout.strip()

    assert os.path.isabs(path)
    assert run(path, "-IS", "-c", "pass").returncode == 0


def test_an_interpreter_of_a_venv_is_followed_to_the_one_behind_it() -> None:
    path = run("sh", "setup/interpreter.sh", sys.executable).stdout.strip()

    assert os.path.abspath(sys._base_executable) == path


def test_a_shim_is_followed_to_the_interpreter_behind_it(tmp_path) -> None:
    shim = tmp_path / "python3"
    shim.write_text(f'#!/bin/sh\nexec {sys._base_executable} "$@"\n')
    shim.chmod(0o755)

    assert (
        os.path.abspath(sys._base_executable)
        == run(
            "sh", "setup/interpreter.sh", "python3", PATH=f"{tmp_path}:{os.environ['PATH']}"
        ).stdout.strip()
    )


@pytest.mark.parametrize("name", ["/nonexistent/python3", "/bin/false"])
def test_an_interpreter_that_does_not_start_is_named_in_the_refusal(name: str) -> None:
    result = run("sh", "setup/interpreter.sh", name)

    assert result.returncode == 1
    assert name in result.stderr
    assert result.stdout == ""


def test_an_interpreter_older_than_3_11_is_refused(tmp_path) -> None:
    old = tmp_path / "python3"
    # Answers the version check as an old interpreter does: it exits 1 and prints nothing.
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    assert "older than 3.11" in run("sh", "setup/interpreter.sh", str(old)).stderr


def test_every_package_of_the_list_has_group_name_and_probe() -> None:
    lines = [line for line in text_of("setup/packages.txt").splitlines() if line and line[0] != "#"]

    assert [line for line in lines if len(line.split()) != 3] == []
    groups = {"build", "run", "runc", "test", "conformance", "kernel", "lab"}
    assert {line.split()[0] for line in lines} == groups


def test_a_plain_user_without_sudo_is_told_what_to_ask_for(tmp_path) -> None:
    for name in ("sh", "dirname", "apt-get"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    user = tmp_path / "id"
    user.write_text("#!/bin/sh\necho 1000\n")
    user.chmod(0o755)
    result = run("/usr/bin/sh", "setup/packages.sh", "run", PATH=str(tmp_path))

    assert result.returncode == 1
    assert "not root, and no sudo" in result.stderr
    assert "hint: as root: apt-get install" in result.stderr
