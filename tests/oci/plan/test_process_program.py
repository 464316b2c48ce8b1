"""Where a process starts and what it executes: its working directory and its program."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import CommandError, Failure, KernelError
from aisbx_runtime.oci.plan.process import EnterDirectory
from aisbx_runtime.oci.plan.program import FindProgram
from aisbx_runtime.oci.plan.step import World
from tests.oci.forked import forked

root = pytest.mark.root
AT = World("one", "/bundle")


# ---- the working directory -----------------------------------------------------------------------
def enter(path, *, final=True):
    EnterDirectory(f"{path}", final=final, origin="process.cwd").apply(AT)


@root
@forked
def test_a_directory_is_entered(tmp_path):
    enter(tmp_path, final=False)
    enter(tmp_path)

    assert f"{tmp_path}" == os.getcwd()


@root
@pytest.mark.parametrize("final", [True, False])
@forked
def test_a_missing_directory_is_an_error(tmp_path, final):
    with pytest.raises(KernelError) as caught:
        enter(tmp_path / "none", final=final)

    assert ("chdir", errno.ENOENT, f"{tmp_path}/none") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@root
@forked
def test_a_directory_that_only_root_may_enter_was_entered_before_the_switch(tmp_path):
    (tmp_path / "private").mkdir(0o700)
    os.chmod(tmp_path, 0o755)
    enter(tmp_path / "private", final=False)
    os.setresuid(1000, 1000, 1000)
    # The path is the same, and root's step has been here: as runc does.
    try:
        enter(tmp_path / "private")
    except KernelError as error:
        # A parent of pytest's own directory may be closed to the user, then getcwd fails too.
        assert errno.EACCES == error.errno  # noqa: PT017


@root
@forked
def test_a_directory_that_nobody_may_enter_is_an_error(tmp_path):
    (tmp_path / "private").mkdir(0o700)
    os.chdir("/")
    os.setresuid(1000, 1000, 1000)
    enter(tmp_path / "private", final=False)
    with pytest.raises(KernelError) as caught:
        enter(tmp_path / "private")

    assert errno.EACCES == caught.value.errno


@root
@forked
def test_a_directory_outside_the_root_is_refused(tmp_path):
    # CVE-2024-21626: process.cwd of /proc/self/fd/N, where N was leaked.
    fd = os.open(tmp_path, os.O_RDONLY)
    link = f"/proc/self/fd/{fd}"
    root_fd = os.open("/usr", os.O_PATH)
    os.fchdir(root_fd)
    proc_fd = os.open("/proc", os.O_PATH)
    os.chroot(".")
    os.fchdir(proc_fd)
    with pytest.raises(Failure, match="lies outside the container"):
        enter(link.removeprefix("/proc/"))


# ---- the program ---------------------------------------------------------------------------------
@pytest.fixture
def bins(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    for path, mode in (("one/plain", 0o644), ("two/plain", 0o755), ("two/tool", 0o755)):
        (tmp_path / path).write_text("")
        (tmp_path / path).chmod(mode)
    (tmp_path / "one/dir").mkdir()
    (tmp_path / "two/dir").write_text("")
    (tmp_path / "two/dir").chmod(0o755)
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(name, search=None) -> str:
    at = World("one", "/bundle")
    FindProgram(name, search, "process.args[0]").apply(at)
    return at.program


@pytest.mark.parametrize(
    ("name", "search", "found"),
    [
        ("tool", "one:two", "two/tool"),
        ("plain", "one:two", "two/plain"),
        ("dir", "one:two", "two/dir"),
        ("./two/tool", None, "./two/tool"),
        ("two/tool", "", "two/tool"),
    ],
)
def test_a_program_is_found_as_execvp_finds_it(bins, name, search, found):
    if search is not None:
        search = ":".join([f"{bins}/{part}" for part in search.split(":")])

    assert os.path.join(bins, found) == find(name, search)


def test_an_absolute_name_is_itself(bins):
    assert f"{bins}/two/tool" == find(f"{bins}/two/tool")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("", 'exec: "": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("./loop", 'exec: "./loop": stat ./loop: no such file or directory'),
        (
            "two/tool/below",
            'exec: "two/tool/below": stat two/tool/below: no such file or directory',
        ),
        ("/etc", 'exec: "/etc": is a directory'),
        ("one/plain", 'exec: "one/plain": permission denied'),
    ],
)
def test_what_cannot_be_executed_is_told_in_runcs_words(bins, name, sentence):
    with pytest.raises(CommandError) as caught:
        find(name, "/nowhere")

    assert sentence == caught.value.what


def test_a_file_that_may_not_be_executed_is_told_when_there_is_no_better(bins):
    with pytest.raises(CommandError, match="permission denied"):
        find("plain", f"{bins}/one")


@pytest.mark.parametrize("search", [None, ""])
def test_without_a_path_the_working_directory_is_not_searched(bins, search, monkeypatch):
    # A program of a hostile volume must not stand in for one that is missing.
    monkeypatch.chdir(bins / "two")
    with pytest.raises(CommandError, match="executable file not found"):
        find("tool", search)


def test_a_name_that_is_too_long_is_the_kernels_error(bins):
    with pytest.raises(KernelError) as caught:
        find(f"/{'x' * 300}")

    assert ("stat", errno.ENAMETOOLONG) == (caught.value.syscall, caught.value.errno)


@root
@forked
def test_a_directory_closed_to_the_user_is_told_as_permission(tmp_path):
    (tmp_path / "private").mkdir(0o700)
    (tmp_path / "private/tool").touch(0o755)
    os.setresuid(1000, 1000, 1000)
    with pytest.raises(CommandError, match="permission denied"):
        find(f"{tmp_path}/private/tool")
