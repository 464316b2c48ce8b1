"""What `make build` and `make install` leave: the launcher, the library, podman's drop-in."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
import tomllib

import pytest

import aisbx_runtime
from aisbx_runtime import install
from aisbx_runtime.oci.register import change
from aisbx_runtime.oci.register.engine import registration

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", f"PYTHON={sys._base_executable}", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )


def files_below(directory: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(parent, name), directory)
        for parent, _, names in os.walk(directory)
        for name in names
    }


@pytest.fixture(scope="module")
def staging(tmp_path_factory) -> str:
    """A DESTDIR that make install filled."""
    path = str(tmp_path_factory.mktemp("staging"))
    make("install", "PREFIX=/usr", f"DESTDIR={path}")
    return path


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> str:
    """A PREFIX that make install filled, with its etc beside it."""
    path = str(tmp_path_factory.mktemp("prefix"))
    make("install", f"PREFIX={path}", f"SYSCONFDIR={path}/etc")
    return path


def test_the_launcher_names_an_absolute_isolated_interpreter_without_site(prefix: str) -> None:
    with open(f"{prefix}/bin/aisbx-runtime", encoding="utf-8") as file:
        first_line = file.readline()

    assert first_line == f"#!{os.path.abspath(sys._base_executable)} -IS\n"


@pytest.mark.parametrize("interpreter", ["python3", "/opt/my python/bin/python3", "/" + "x" * 250])
def test_an_interpreter_that_a_shebang_cannot_name_is_refused(interpreter: str) -> None:
    with pytest.raises(install.InstallError):
        install.launcher_text(interpreter, "/usr/lib/aisbx")


def test_a_library_path_with_a_quote_stays_one_string() -> None:
    text = install.launcher_text("/usr/bin/python3", "/srv/o'brien")

    compile(text, "launcher", "exec")
    assert '"/srv/o\'brien"' in text


def test_the_installed_program_runs_with_an_empty_environment(prefix: str) -> None:
    result = subprocess.run(
        [f"{prefix}/bin/aisbx-runtime", "--version"],
        cwd="/",
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stderr == ""
    assert result.stdout.startswith("aisbx-runtime version ")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> str:
    """Another checkout that make build filled; its path has a space."""
    path = str(tmp_path_factory.mktemp("another") / "check out")
    os.mkdir(path)
    parts = ("Makefile", "setup", "aisbx_runtime")
    subprocess.run(["cp", "-r", *(os.path.join(ROOT, part) for part in parts), path], check=True)
    make("-C", path, "build")
    return path


def version_said_by(program: str) -> str:
    return subprocess.run(
        [program, "--version"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.partition("\n")[0]


def test_a_checkout_runs_in_place(checkout: str) -> None:
    expected = f"aisbx-runtime version {aisbx_runtime.__version__}"

    assert expected == version_said_by(f"{checkout}/bin/aisbx-runtime")


def commit_said_by(program: str) -> list[str]:
    said = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    return [line for line in said.stdout.splitlines() if line.startswith("commit")]


def test_the_version_names_the_commit_that_was_built(prefix: str) -> None:
    said = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if said.returncode:
        pytest.skip("not a git checkout, or no git")

    assert [f"commit: {said.stdout.strip()}"] == [
        line.removesuffix("-dirty") for line in commit_said_by(f"{prefix}/bin/aisbx-runtime")
    ]


def test_what_was_not_built_from_git_names_no_commit(checkout: str) -> None:
    assert [] == commit_said_by(f"{checkout}/bin/aisbx-runtime")


def test_an_edit_in_a_checkout_takes_effect_at_the_next_start(checkout: str) -> None:
    path = f"{checkout}/aisbx_runtime/oci/lifecycle/version.py"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("aisbx-runtime version", "edited-runtime version"))
    expected = f"edited-runtime version {aisbx_runtime.__version__}"

    assert expected == version_said_by(f"{checkout}/bin/aisbx-runtime")


def test_every_module_is_installed_but_those_of_the_build(prefix: str) -> None:
    here = {name for name in files_below(ROOT + "/aisbx_runtime") if name.endswith((".py", ".c"))}
    installed = files_below(f"{prefix}/lib/aisbx/aisbx_runtime")

    assert here - installed == {"install.py", "oci/stub/build.py", "oci/stub/stub.c"}
    assert {"oci/stub/stub", "bytecode.bin"} <= installed


def test_the_installed_program_plans_a_container(prefix: str, tmp_path) -> None:
    program = f"{prefix}/bin/aisbx-runtime"
    (tmp_path / "rootfs").mkdir()
    subprocess.run([program, "spec", "--bundle", str(tmp_path)], env={}, check=True)
    result = subprocess.run(
        [program, "plan", "--format", "json", str(tmp_path)],
        env={},
        check=True,
        capture_output=True,
        text=True,
    )

    assert "steps" in json.loads(result.stdout)
    assert result.stderr == ""


def test_every_installed_module_has_its_bytecode(prefix: str) -> None:
    library = f"{prefix}/lib/aisbx"
    modules = {name for name in files_below(library) if name.endswith(".py")}
    missing = {
        module
        for module in modules
        if not os.path.exists(importlib.util.cache_from_source(f"{library}/{module}"))
    }

    assert modules
    assert missing == set()


def test_installed_bytecode_is_never_checked_against_time_stamps(prefix: str) -> None:
    source = f"{prefix}/lib/aisbx/aisbx_runtime/oci/errors.py"
    with open(importlib.util.cache_from_source(source), "rb") as file:
        flags = int.from_bytes(file.read(8)[4:], "little")

    # PEP 552: bit 0 is hash-based, bit 1 is check_source.
    assert flags == 0b01


def test_others_may_read_and_nobody_but_the_owner_may_write(prefix: str) -> None:
    wrong = set()
    for parent, directories, names in os.walk(f"{prefix}/lib/aisbx"):
        for name in (*directories, *names):
            mode = stat.S_IMODE(os.stat(os.path.join(parent, name)).st_mode)
            if mode not in {0o644, 0o755}:
                wrong.add((name, oct(mode)))

    assert wrong == set()


def test_destdir_stages_and_the_installed_files_do_not_know_it(staging: str) -> None:
    assert {"usr", "etc"} == set(os.listdir(staging))
    with open(f"{staging}/usr/bin/aisbx-runtime", encoding="utf-8") as file:
        assert "'/usr/lib/aisbx'" in file.read()
    source = f"{staging}/usr/lib/aisbx/aisbx_runtime/oci/errors.py"
    with open(importlib.util.cache_from_source(source), "rb") as file:
        bytecode = file.read()

    assert b"/usr/lib/aisbx/aisbx_runtime/oci/errors.py" in bytecode
    assert staging.encode() not in bytecode


def test_installing_again_replaces_and_leaves_no_scratch(staging: str) -> None:
    stale = f"{staging}/usr/lib/aisbx/aisbx_runtime/gone.py"
    with open(stale, "w", encoding="utf-8"):
        pass
    make("install", "PREFIX=/usr", f"DESTDIR={staging}")

    assert not os.path.exists(stale)
    assert os.listdir(f"{staging}/usr/lib") == ["aisbx"]
    assert {"aisbx", "aisbx-runtime", "containerd-shim-aisbx-v1"} == set(
        os.listdir(f"{staging}/usr/bin")
    )


def test_the_drop_in_names_the_program_and_whole_lists(staging: str) -> None:
    with open(f"{staging}/etc/containers/containers.conf.d/aisbx.conf", "rb") as file:
        engine = tomllib.load(file)["engine"]

    assert {"aisbx": ["/usr/bin/aisbx-runtime"]} == engine["runtimes"]
    # podman 4 replaces its own lists by these.
    assert [
        "crun", "runc", "kata", "runsc", "youki", "krun", "ocijail", "aisbx",
    ] == engine["runtime_supports_json"]  # fmt: skip
    assert ["crun", "krun", "aisbx"] == engine["runtime_supports_nocgroup"]


def test_a_drop_in_that_somebody_else_wrote_stays(tmp_path) -> None:
    path = tmp_path / "etc/containers/containers.conf.d/aisbx.conf"
    path.parent.mkdir(parents=True)
    path.write_text("[engine]\n")
    where = [f"PREFIX={tmp_path}/usr", f"SYSCONFDIR={tmp_path}/etc"]
    installed = make("install", *where).stdout
    make("uninstall", *where)

    assert "somebody else" in installed
    assert path.read_text() == "[engine]\n"


def test_the_shim_starts_that_of_containerd_with_the_program_as_runc(prefix: str, tmp_path) -> None:
    shim = tmp_path / "containerd-shim-runc-v2"
    shim.write_text('#!/bin/sh\necho "$@"\nreadlink "$(command -v runc)"\n')
    shim.chmod(0o755)
    done = subprocess.run(
        [f"{prefix}/bin/containerd-shim-aisbx-v1", "-id", "a b", "start"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert done.stdout == f"-id a b start\n{prefix}/bin/aisbx-runtime\n"


def test_the_shim_without_a_path_does_not_look_into_the_current_directory(
    prefix: str, tmp_path
) -> None:
    shim = tmp_path / "containerd-shim-runc-v2"
    shim.write_text("#!/bin/sh\necho planted\n")
    shim.chmod(0o755)
    done = subprocess.run(
        [f"{prefix}/bin/containerd-shim-aisbx-v1", "-v"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "planted" not in done.stdout


@pytest.mark.parametrize("engine", ["containerd", "cri-o", "docker"])
def test_uninstall_takes_back_what_was_registered(tmp_path, engine: str) -> None:
    where = install.Places(f"{tmp_path}/usr", f"{tmp_path}/etc", "")
    where.shims = f"{tmp_path}/bin"
    for of_program in (where.program, "/other/bin/aisbx-runtime"):
        found = registration(engine, of_program, where.library, where.etc, shims=where.shims)
        for one in found.changes:
            change.apply(one)
        install.unregister(engine, where)
        left = files_below(str(tmp_path))
        if of_program == where.program:
            assert left == set()

    assert left == {os.path.relpath(one.path, tmp_path) for one in found.changes}


def test_a_relative_prefix_is_refused() -> None:
    with pytest.raises(install.InstallError, match="PREFIX"):
        install.Places("usr", "/etc", "")


def test_uninstall_removes_what_install_made_and_nothing_else(tmp_path) -> None:
    where = [f"PREFIX={tmp_path}/usr", f"SYSCONFDIR={tmp_path}/etc"]
    make("install", *where)
    (tmp_path / "usr/lib/other").write_text("")
    make("uninstall", *where)

    assert files_below(str(tmp_path)) == {"usr/lib/other"}
