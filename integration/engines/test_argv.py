"""What BuildKit and CRI-O send, word for word, without them: docs/contract.md 2.5 and 2.6."""

from __future__ import annotations

import copy
import json
import os
import pty
import signal
import subprocess

import pytest

from integration import host, leaks, needs
from integration.runtime import PATH, TIMEOUT_S, call
from integration.terminal import read_until

READY = "until test -e /ready; do usleep 10000; done"


def process_file(bundle, *words, **more):
    """Write what --process names and return its path."""
    process = copy.deepcopy(bundle.config["process"])
    process["args"] = list(words)
    path = f"{bundle.path}/process.json"
    with open(path, "w") as out:
        json.dump(process | more, out)
    return path


# -- BuildKit: no --root; the program runs in the foreground and is kept at its end


@pytest.fixture
def buildkit(program, bundle, expected_processes, scratch):
    """Call the runtime by the name that BuildKit looks for, with its flags."""
    name = f"{scratch}/buildkit-runc"
    if not os.path.lexists(name):
        os.symlink(program, name)
    log = f"{bundle.path}/runc-log.json"

    def argv(*words):
        return [name, "--log", log, "--log-format", "json", *words]

    yield argv
    with subprocess.Popen(argv("delete", "--force", bundle.id), env={"PATH": PATH}) as process:
        assert process.wait(TIMEOUT_S) == 0
    leaks.reap(expected_processes)


def run_words(bundle):
    bundle.save()
    return ["run", "--bundle", bundle.path, "--keep", bundle.id]


@pytest.fixture
def running(buildkit, bundle):
    """A container in the foreground of a process of its own, that has started."""
    bundle.script("trap 'exit 5' TERM; echo ready; while :; do usleep 10000; done")
    with subprocess.Popen(
        buildkit(*run_words(bundle)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={"PATH": PATH},
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        call(buildkit("kill", bundle.id, "9"))


def test_buildkit_runs_keeps_and_deletes(buildkit, bundle):
    bundle.script("cat; echo err >&2; exit 6")
    result = call(buildkit(*run_words(bundle)), text="in\n")
    state = json.loads(call(buildkit("state", bundle.id)).ok().out)
    deleted = call(buildkit("delete", bundle.id)).ok()

    assert (result.code, result.out, result.err) == (6, "in\n", "err\n")
    assert (state["status"], state["bundle"]) == ("stopped", bundle.path)
    assert (deleted.out, deleted.err) == ("", "")


@pytest.mark.usefixtures("running")
def test_buildkit_sees_it_running(buildkit, bundle):
    state = json.loads(call(buildkit("state", bundle.id)).ok().out)

    assert state["status"] == "running"


@pytest.mark.usefixtures("running")
def test_buildkit_executes_in_the_foreground(buildkit, bundle):
    pid_file = f"{bundle.path}/exec.pid"
    path = process_file(bundle, "sh", "-c", "cat; echo err >&2; exit 8", cwd="/tmp")
    words = ["exec", "--process", path, "--pid-file", pid_file, bundle.id]
    result = call(buildkit(*words), text="in\n")

    assert (result.code, result.out, result.err) == (8, "in\n", "err\n")
    assert host.text_of(pid_file).isdigit()


def test_buildkit_kills(buildkit, bundle, running):
    killed = call(buildkit("kill", bundle.id, "9")).ok()

    assert (killed.out, killed.err) == ("", "")
    assert running.wait(TIMEOUT_S) == 137
    assert call(buildkit("delete", bundle.id)).code == 0


@pytest.mark.usefixtures("bundle")
def test_buildkit_sends_a_signal_through_the_runtime(running):
    running.send_signal(signal.SIGTERM)

    assert running.wait(TIMEOUT_S) == 5


def test_a_runtime_that_dies_with_buildkit_leaves_what_can_be_deleted(
    buildkit, bundle, running, expected_processes
):
    # PDEATHSIG ends it, then a new BuildKit clears up.
    running.kill()
    running.wait(TIMEOUT_S)
    call(buildkit("kill", bundle.id, "9"))
    leaks.wait_for_end(expected_processes)

    assert call(buildkit("delete", bundle.id)).code == 0
    assert call(buildkit("state", bundle.id)).code != 0


def test_buildkit_reads_the_error_from_the_log(buildkit, bundle):
    bundle.args("nosuch")
    result = call(buildkit(*run_words(bundle)))
    lines = [json.loads(line) for line in host.text_of(f"{bundle.path}/runc-log.json").splitlines()]
    errors = [line["msg"] for line in lines if line["level"] == "error"]

    assert (result.code != 0, result.out) == (True, "")
    assert "executable file not found in $PATH" in errors[-1]
    call(buildkit("delete", bundle.id))  # runc keeps what has failed: --keep
    assert call(buildkit("state", bundle.id)).code != 0


def test_buildkit_resizes_its_own_terminal(buildkit, bundle):
    # It is not the controlling terminal of the runtime: only the signal tells.
    bundle.script("trap 'stty size; exit 3' WINCH; echo ready; while :; do usleep 10000; done")
    bundle.config["process"]["terminal"] = True
    words = buildkit(*run_words(bundle))
    master, slave = pty.openpty()
    with subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, env={"PATH": PATH}, process_group=0
    ) as process:
        os.close(slave)
        read_until(master, b"ready")
        subprocess.run(["stty", "rows", "33", "cols", "77"], stdin=master, check=True)
        process.send_signal(signal.SIGWINCH)
        text = read_until(master, None)
        code = process.wait(TIMEOUT_S)
    os.close(master)

    assert (code, b"33 77" in text) == (3, True)


# -- CRI-O: --root=R by conmon, --root R by itself


@pytest.fixture
def crio(program, state_root):
    def called(*words, **options):
        return call([program, "--root", state_root, *words], **options)

    return called


@pytest.fixture
def container(runtime, bundle, crio):
    """A started container, created as conmon does for CRI-O."""
    bundle.script("trap 'exit 5' TERM; touch /ready; while :; do usleep 10000; done").save()
    runtime.made.append(bundle.id)
    words = ["create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pidfile", bundle.id]
    result = call([runtime.program, f"--root={runtime.root}", *words]).ok()
    assert (result.out, result.err) == ("", "")
    assert crio("start", bundle.id).ok().out == ""
    return bundle.id


def status(crio, container):
    return json.loads(crio("state", container).ok().out)["status"]


def ended(pid):
    """Reap init as conmon does and return its exit code or 128+signal."""
    _, code = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(code)
    return code if code >= 0 else 128 - code


def pid_of(bundle):
    return int(host.text_of(f"{bundle.path}/pidfile"))


@pytest.mark.parametrize("verb", ["--version", "features"])
def test_crio_reads_both_outputs_as_one(program, verb):
    result = call([program, verb]).ok()

    assert result.err == ""
    if verb == "features":
        assert json.loads(result.out)["ociVersionMin"]
    else:
        assert "version" in result.lines[0]


def test_crio_reads_the_state(crio, bundle, container):
    state = json.loads(crio("state", container).ok().out)

    assert (state["status"], state["pid"]) == ("running", pid_of(bundle))
    assert state["created"].startswith("20")


@pytest.mark.parametrize(("signal_word", "code"), [("15", 5), ("KILL", 137), ("SIGTERM", 5)])
def test_crio_stops_and_deletes(crio, bundle, container, signal_word, code):
    path = process_file(bundle, "sh", "-c", READY)
    crio("exec", "--process", path, container).ok()
    crio("kill", container, signal_word).ok()

    assert ended(pid_of(bundle)) == code
    assert status(crio, container) == "stopped"
    again = crio("kill", container, "9")
    assert again.code != 0
    assert "container not running" in again.err
    assert crio("delete", "--force", container).ok().err == ""
    assert crio("delete", "--force", container).code == 0


def test_crio_executes_with_streams(crio, bundle, container):
    path = process_file(bundle, "sh", "-c", "cat; echo err >&2; exit 8")
    result = crio("exec", "--process", path, container, text="in\n")

    assert (result.code, result.out, result.err) == (8, "in\n", "err\n")


def test_conmon_executes_for_crio(program, state_root, bundle, container):
    # execSync: the process becomes conmon's child.
    path = process_file(bundle, "sh", "-c", "echo out; exit 9")
    pid_file = f"{bundle.path}/exec.pid"
    words = ["exec", "--pid-file", pid_file, "--process", path, "--detach", container]
    result = call([program, f"--root={state_root}", *words]).ok()

    assert result.err == ""
    assert ended(int(host.text_of(pid_file))) == 9


@needs.cgroups
def test_crio_pauses_and_resumes(crio, container):
    found = []
    for verb in ("pause", "resume"):
        result = crio(verb, container).ok()
        assert (result.out, result.err) == ("", "")
        found.append(status(crio, container))

    assert found == ["paused", "running"]


@needs.controllers("memory")
def test_crio_updates_from_its_input(crio, bundle, container):
    text = json.dumps({"memory": {"limit": 1 << 26}})
    result = crio("update", "--resources", "-", container, text=text).ok()
    names = ("memory.limit_in_bytes", "memory.max")

    assert (result.out, result.err) == ("", "")
    assert host.cgroup_file("memory", bundle.cgroup, *names) == str(1 << 26)
