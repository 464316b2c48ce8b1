"""containerd-shim-aisbx-v1: containerd knows the runtime under test as io.containerd.aisbx.v1.

The daemon's PATH holds no `runc` but the machine's own.
"""

from __future__ import annotations

import json
import os

import pytest

from aisbx_runtime.oci.register import shim
from aisbx_runtime.oci.register.change import marked
from integration import host, needs
from integration.engines.containerd import Ctr, Daemon
from integration.runtime import call

RUNTIME = "io.containerd.aisbx.v1"
# ctr asks for cpu shares in every container.
pytestmark = needs.controllers("cpu")


@pytest.fixture(scope="module")
def shim_session(image_archive, scratch, program):
    reason = host.lacks_program("containerd", "ctr", "containerd-shim-runc-v2")
    if reason:
        pytest.skip(reason)
    top = f"{scratch}/with shim"
    directory = shim.directory_of(top)
    os.makedirs(directory)
    os.symlink(program, f"{directory}/{shim.RUNC}")
    os.mkdir(f"{top}/shims")
    with open(f"{top}/shims/{shim.NAME}", "wb") as out:
        out.write(marked(shim.text(directory)))
    os.chmod(f"{top}/shims/{shim.NAME}", 0o755)
    daemon = Daemon(f"{scratch}/containerd-with-shim", f"{top}/shims")
    try:
        daemon.wait_ready()
        made = Ctr(daemon, ["--runtime", RUNTIME])
        made.import_image(image_archive)
        yield made
    finally:
        daemon.end()


@pytest.fixture
def ctr(shim_session, _no_leaks):
    yield shim_session
    shim_session.clean()


def test_the_container_is_made_by_the_runtime_under_test(ctr, program):
    name = ctr.up()
    root = f"/run/containerd/runc/{host.MARK}-ctr"
    state = json.loads(call([program, "--root", root, "state", name]).ok().out)

    assert (state["id"], state["status"]) == (name, "running")


def test_run_passes_input_and_output(ctr):
    assert ctr.run([], "head", "-n", "1", text="hello\n").ok().out == "hello\n"


@pytest.mark.parametrize("code", [0, 3, 255])
def test_run_returns_the_exit_code_of_the_program(ctr, code):
    assert ctr.run([], "sh", "-c", f"exit {code}").code == code


def test_a_missing_program_fails_with_the_words_of_the_log(ctr):
    result = ctr.run([], "nosuch")

    assert result.code != 0
    assert "executable file not found in $PATH" in result.message


def test_exec_returns_output_and_exit_code(ctr):
    name = ctr.up()
    result = ctr("tasks", "exec", "--exec-id", "e1", name, "sh", "-c", "echo hi; exit 3")

    assert (result.code, result.out) == (3, "hi\n")


def test_pause_and_resume(ctr):
    name = ctr.up()
    ctr("tasks", "pause", name).ok()
    paused = ctr.status(name)
    ctr("tasks", "resume", name).ok()

    assert (paused, ctr.status(name)) == ("PAUSED", "RUNNING")


def test_a_killed_task_is_deleted(ctr):
    name = ctr.up()
    ctr("tasks", "kill", "--signal", "KILL", name).ok()
    result = ctr("tasks", "delete", name)

    assert "exit code 137" in result.err
    assert ctr.status(name) == ""


def test_the_features_are_those_of_the_runtime_under_test(ctr, program):
    if ctr("plugins", "inspect-runtime", "--help").code:
        pytest.skip("this ctr has no inspect-runtime (it came with containerd 2.0)")
    said = ctr("plugins", "inspect-runtime", "--runtime", RUNTIME).ok().out
    features = json.loads(call([program, "features"]).ok().out)

    assert json.loads(said)["Features"]["ociVersionMax"] == features["ociVersionMax"]
    assert json.loads(said)["Features"]["mountOptions"] == features["mountOptions"]
