"""How engines call: flags, environment, --log, and what the caller had set for itself."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.host import libc, text_of
from integration.leaks import descendants
from integration.runtime import PATH, call

PR_SET_PDEATHSIG = 1  # linux/prctl.h


@pytest.mark.parametrize(
    "words",
    [
        ["--systemd-cgroup=false"],
        ["-systemd-cgroup=false"],
        ["--debug=false"],
        ["-debug=false", "--systemd-cgroup=false"],
        ["--log-format=json"],
        ["--log-format", "json"],
        ["-log-format=text"],
    ],
)
def test_global_flags_are_taken_in_go_style(runtime, bundle, words):
    bundle.script("true").save()
    runtime.made.append(bundle.id)
    argv = [*words, "run", "--bundle", bundle.path, bundle.id]

    assert runtime(*argv).code == 0


def test_global_flags_come_in_any_order(runtime, bundle):
    bundle.script("true").save()
    runtime.made.append(bundle.id)
    log = f"{bundle.path}/log"
    words = ["--log-format", "json", f"--log={log}", "--systemd-cgroup=false"]

    assert runtime(*words, "run", "--bundle", bundle.path, bundle.id).code == 0


@pytest.mark.parametrize("form", [["--bundle={}"], ["-bundle", "{}"], ["-b", "{}"], ["-b={}"]])
def test_flags_of_a_verb_are_taken_in_go_style(runtime, bundle, form):
    bundle.script("true").save()
    runtime.made.append(bundle.id)

    assert runtime("run", *(word.format(bundle.path) for word in form), bundle.id).code == 0


@pytest.mark.parametrize("flag", ["-no-pivot=false", "--no-new-keyring", "-no-new-keyring"])
def test_create_takes_the_flags_podman_and_buildah_send(runtime, bundle, flag):
    assert runtime.create(bundle.script("true"), flag).start().wait() == 0


def test_run_takes_a_single_dash_long_flag(runtime, bundle):
    # containerd really sends -no-subreaper (to restore).
    assert runtime.run(bundle, "true", "-no-subreaper").code == 0


def test_a_flag_may_be_given_twice(runtime, bundle):
    assert runtime.run(bundle, "true", "--no-new-keyring", "--no-new-keyring").code == 0


def test_an_unknown_flag_is_refused(runtime, bundle):
    assert runtime.run(bundle, "true", "--no-such-flag").code != 0


def test_an_unknown_verb_is_refused(runtime):
    assert runtime("nosuchverb").code != 0


@needs.cgroups
def test_the_whole_life_works_in_an_empty_environment(runtime, bundle):
    # podman calls kill and delete without PATH and HOME.
    container = runtime.create(bundle.script("exec sleep 1000"), env={})
    container.start(env={})
    container.verb("state", env={}).ok()
    container.verb("pause", env={}).ok()
    container.verb("resume", env={}).ok()
    container.exec("/bin/true", env={}).ok()
    runtime("kill", bundle.id, "9", env={}).ok()
    container.wait()

    assert container.verb("delete", env={}).code == 0


def test_an_empty_xdg_runtime_dir_is_unset(program, bundle):
    # podman as root sends `XDG_RUNTIME_DIR=`; and it never passes --root.
    bundle.script("true").save()
    env = {"XDG_RUNTIME_DIR": "", "PATH": PATH}
    call([program, "create", "--bundle", bundle.path, bundle.id], env=env).ok()
    state = call([program, "state", bundle.id], env={"XDG_RUNTIME_DIR": ""})
    call([program, "delete", "--force", bundle.id], env={}).ok()
    if host.in_user_namespace():
        shutil.rmtree(f"/tmp/aisbx-{host.outside_id(0)}")  # not in the session's own /run

    assert state.code == 0


def test_the_environment_of_the_caller_does_not_reach_the_program(runtime, bundle):
    bundle.config["process"]["env"] = ["PATH=/bin", "ONLY=this"]
    bundle.args("/bin/env")
    bundle.save()
    env = {"LEAK": "1", "PYTHONPATH": "/nonexistent", "PYTHONHOME": "/x", "LD_LIBRARY_PATH": "/x"}
    runtime.made.append(bundle.id)
    result = runtime("run", "--bundle", bundle.path, bundle.id, env=env)

    assert sorted(set(result.lines) - {"HOME=/root"}) == ["ONLY=this", "PATH=/bin"]


def failing(runtime, bundle, *words, **options):
    """Create a container whose program is missing, with a log."""
    bundle.args("/nosuch").save()
    runtime.made.append(bundle.id)
    log = f"{bundle.path}/log.json"
    flags = ["--log", log, "--log-format", "json", *words]
    return log, runtime(*flags, "create", "--bundle", bundle.path, bundle.id, **options)


def test_a_failure_appends_one_json_object_to_the_log(runtime, bundle):
    log, _ = failing(runtime, bundle)
    lines = text_of(log).splitlines()
    known_of_runc(runtime, "it logs warnings without memory.events", seen=len(lines) > 1)
    entry = json.loads("".join(lines))

    assert entry["level"] == "error"
    assert "no such file or directory" in entry["msg"]
    datetime.datetime.fromisoformat(entry["time"])


def test_a_second_failure_appends_a_second_object(runtime, bundle):
    failing(runtime, bundle)
    log, _ = failing(runtime, bundle)
    lines = text_of(log).splitlines()
    known_of_runc(runtime, "it logs warnings without memory.events", seen=len(lines) > 2)

    assert ["error", "error"] == [json.loads(line)["level"] for line in lines]


def test_a_failure_is_written_to_stderr_although_there_is_a_log(runtime, bundle):
    _, result = failing(runtime, bundle)

    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "no such file or directory" in result.err


def test_a_success_writes_no_log(runtime, bundle):
    log = f"{bundle.path}/log.json"
    bundle.script("true").save()
    runtime.made.append(bundle.id)
    words = ["--log", log, "--log-format", "json", "run", "--bundle", bundle.path, bundle.id]
    runtime(*words).ok()

    assert not os.path.exists(log) or os.path.getsize(log) == 0


def test_delete_force_works_though_the_log_cannot_be_opened(runtime):
    # The shim's last call names a log in a directory that is gone.
    words = ["--log", "/nonexistent/log.json", "--log-format", "json"]
    result = runtime(*words, "delete", "--force", "nosuch")
    known_of_runc(runtime, "it fails when it cannot open its log", seen=result.code != 0)

    assert result.code == 0


def test_signals_the_caller_ignores_are_reset(runtime, bundle):
    # conmon ignores SIGPIPE, a nohup'ed daemon SIGHUP, CPython SIGPIPE and SIGXFSZ.
    def ignore():
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)

    bundle.args("/bin/grep", "SigIgn", "/proc/self/status").save()
    runtime.made.append(bundle.id)
    argv = ["run", "--bundle", bundle.path, bundle.id]
    result = runtime(*argv, preexec_fn=ignore)

    assert result.out.split() == ["SigIgn:", "0000000000000000"]


def test_sighup_ignored_by_the_caller_is_reset(runtime, bundle):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    bundle.args("/bin/grep", "SigIgn", "/proc/self/status").save()
    runtime.made.append(bundle.id)
    argv = ["run", "--bundle", bundle.path, bundle.id]
    result = runtime(*argv, preexec_fn=ignore)
    known_of_runc(runtime, "it passes an ignored SIGHUP on", seen=result.out.endswith("1\n"))

    assert result.out.split() == ["SigIgn:", "0000000000000000"]


def test_signals_the_caller_blocks_are_unblocked(runtime, bundle):
    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})

    bundle.args("/bin/grep", "SigBlk", "/proc/self/status").save()
    runtime.made.append(bundle.id)
    argv = ["run", "--bundle", bundle.path, bundle.id]
    result = runtime(*argv, preexec_fn=block)
    known_of_runc(runtime, "it passes the signal mask on", seen=result.out.endswith("200\n"))

    assert result.out.split() == ["SigBlk:", "0000000000000000"]


def test_init_is_a_direct_child_of_the_callers_subreaper(runtime, bundle):
    container = runtime.create(bundle)
    with open(f"/proc/{container.pid}/stat") as text:
        parent = int(text.read().rsplit(")", 1)[1].split()[1])

    assert parent == os.getpid()


def test_init_leads_a_session_of_its_own(runtime, bundle):
    container = runtime.started(bundle)

    assert os.getsid(container.pid) == container.pid
    assert os.getpgid(container.pid) == container.pid


def test_nothing_but_init_lives_on_after_create(runtime, bundle):
    before = set(descendants())
    container = runtime.create(bundle)

    assert set(descendants()) - before == {container.pid}


def test_the_death_signal_of_the_caller_is_not_passed_on(runtime, bundle):
    # go-runc sets PDEATHSIG on the runtime; init must survive the end of the runtime.
    def die_with_parent():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    container = runtime.create(bundle, preexec_fn=die_with_parent)

    assert container.status == "created"


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
def test_a_pid_file_that_cannot_be_written_is_a_failure(runtime, new_bundle, verb):
    bundle = new_bundle()
    path = "/nonexistent/pid"
    if verb == "exec":
        container = runtime.started(bundle)
        result = container.exec("/bin/true", flags=["--detach", "--pid-file", path])
        container.delete("--force").ok()
    else:
        bundle.save()
        runtime.made.append(bundle.id)
        result = runtime(verb, "--bundle", bundle.path, "--pid-file", path, bundle.id)

    assert result.code != 0


def test_the_pid_file_has_digits_only(runtime, bundle):
    runtime.create(bundle)
    with open(f"{bundle.path}/pid", "rb") as text:
        assert text.read().isdigit()


def test_the_pid_file_is_replaced_as_a_whole(runtime, bundle):
    # BuildKit polls for the file: it must never see a part of it (write elsewhere, then rename).
    with open(f"{bundle.path}/pid", "w") as old:
        old.write("an old text that is longer than a pid")
        inode = os.fstat(old.fileno()).st_ino
    container = runtime.create(bundle)

    assert container.pid > 0
    assert os.stat(f"{bundle.path}/pid").st_ino != inode
    assert sorted(os.listdir(bundle.path)) == ["config.json", "pid", "rootfs"]


def test_a_log_format_that_there_is_not_is_refused(runtime):
    result = runtime("--log-format=xml", "list")

    assert result.code != 0
    assert "xml" in result.err


@pytest.mark.parametrize("flag", ["--config", "-f"])
def test_another_file_is_read_in_place_of_config_json(runtime, bundle, flag):
    """crun's flag: the path starts at the working directory, root.path at the bundle."""
    bundle.script("echo from the other").save()
    other = f"{bundle.path}/other.json"
    shutil.move(f"{bundle.path}/config.json", other)
    runtime.made.append(bundle.id)
    result = runtime("run", "--bundle", bundle.path, flag, os.path.relpath(other), bundle.id)
    known_of_runc(runtime, "it has no --config", seen=result.code != 0)

    assert result.ok().out == "from the other\n"
