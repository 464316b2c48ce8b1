"""`exec`: one more process in a running container."""

from __future__ import annotations

import copy
import json
import os
import select

import pytest

from integration import needs
from integration.differences import known_of_runc
from integration.runtime import TIMEOUT_S


@pytest.fixture
def container(runtime, bundle):
    return runtime.started(bundle)


@pytest.mark.parametrize("code", [0, 3, 126, 127, 255])
def test_exec_returns_the_exit_code(container, code):
    assert container.exec("/bin/sh", "-c", f"exit {code}").code == code


def test_exec_returns_128_plus_signal(container):
    assert container.exec("/bin/sh", "-c", "kill -9 $$").code == 137


def test_exec_passes_stdio_through(container):
    result = container.exec("/bin/sh", "-c", "cat; echo err >&2", text="hello")

    assert (result.code, result.out, result.err) == (0, "hello", "err\n")


def test_flags_of_the_program_are_not_those_of_exec(container):
    assert container.exec("/bin/echo", "--tty", "-d", "--user", "x").out == "--tty -d --user x\n"


@pytest.mark.parametrize("kind", ["pid", "net", "ipc", "uts", "mnt", "user", "cgroup"])
def test_exec_joins_the_namespaces(container, kind):
    assert container.sh(f"readlink /proc/self/ns/{kind}").strip() == container.namespace(kind)


def test_exec_joins_a_user_namespace(runtime, bundle):
    bundle.user_namespace()
    container = runtime.started(bundle)

    assert container.sh("readlink /proc/self/ns/user").strip() == container.namespace("user")
    assert container.sh("id -u") == "0\n"


def test_exec_joins_the_cgroups(container):
    with open(f"/proc/{container.pid}/cgroup") as text:
        init = text.read()
    with_host_paths = container.sh("cat /proc/self/cgroup")

    assert with_host_paths == init


def test_exec_finds_the_program_in_the_path_of_the_process(container):
    assert container.exec("echo", "hi").out == "hi\n"


def test_exec_of_a_missing_program_fails_with_the_words_engines_know(container):
    result = container.exec("nosuch")

    assert result.code != 0
    assert 'exec: "nosuch": executable file not found in $PATH' in result.message


def test_exec_of_a_missing_path_fails_with_the_words_engines_know(container):
    result = container.exec("/nosuch")

    assert result.code != 0
    assert "no such file or directory" in result.err


def test_exec_of_a_file_that_is_not_executable_fails_with_the_words_engines_know(container):
    result = container.exec("/etc/passwd")

    assert result.code != 0
    assert 'exec: "/etc/passwd": permission denied' in result.message


def test_a_failed_detached_exec_leaves_no_pid_file(container):
    # conmon 2.2 takes the absence of the pid file for the failure.
    path = f"{container.bundle.path}/exec.pid"
    result = container.exec("nosuch", flags=["--detach", "--pid-file", path])

    assert result.code != 0
    assert not os.path.exists(path)


def test_a_failed_exec_leaves_the_container_running(container):
    container.exec("nosuch")

    assert container.status == "running"


def test_a_detached_exec_is_our_child(container):
    path = f"{container.bundle.path}/exec.pid"
    words = ["/bin/sh", "-c", "exit 5"]
    result = container.exec(*words, flags=["--detach", "--pid-file", path]).ok()
    with open(path) as text:
        pid = text.read()

    assert (result.out, result.err) == ("", "")
    assert pid.isdigit()
    assert os.waitstatus_to_exitcode(os.waitpid(int(pid), 0)[1]) == 5


def test_a_detached_exec_returns_while_its_process_runs(container):
    path = f"{container.bundle.path}/exec.pid"
    container.exec("/bin/sleep", "1000", flags=["-d", "--pid-file", path]).ok()

    assert container.sh("pidof sleep | wc -w").strip() == "2"


def process_file(container, **changes):
    process = copy.deepcopy(container.bundle.config["process"])
    process.update(changes)
    path = f"{container.bundle.path}/process.json"
    with open(path, "w") as out:
        json.dump(process, out)
    return path


@pytest.mark.parametrize("flag", ["--process", "-p", "-process"])
def test_exec_takes_a_process_file(container, flag):
    path = process_file(container, args=["/bin/echo", "hi"])

    assert container.exec(flags=[flag, path]).out == "hi\n"


def test_a_process_file_is_taken_literally(container):
    # containerd's exec spec lacks HOME: it is not invented from nothing but /etc/passwd.
    path = process_file(container, args=["/bin/env"], env=["PATH=/bin", "A=b c"])
    words = set(container.exec(flags=["--process", path]).lines)

    assert words - {"HOME=/root"} == {"PATH=/bin", "A=b c"}


def test_podman_s_order_of_flags_is_taken(container):
    path = process_file(container, args=["/bin/true"])
    pid_file = f"{container.bundle.path}/exec.pid"
    flags = ["--pid-file", pid_file, "--process", path, "--detach"]

    assert container.exec(flags=flags).code == 0


@needs.ids
def test_a_process_file_sets_user_groups_and_cwd(container):
    user = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8]}
    script = "id -u; id -g; id -G; pwd"
    path = process_file(container, args=["/bin/sh", "-c", script], user=user, cwd="/tmp")

    assert container.exec(flags=["--process", path]).lines == [
        "1000",
        "1001",
        "1001 7 8",
        "/tmp",
    ]


def test_a_process_file_sets_the_umask(runtime, container):
    user = {"uid": 0, "gid": 0, "umask": 0o27}
    path = process_file(container, args=["/bin/sh", "-c", "umask"], user=user)
    result = container.exec(flags=["--process", path])
    known_of_runc(runtime, "exec ignores the umask", seen=result.out == "0022\n")

    assert result.out == "0027\n"


def test_a_process_file_sets_capabilities(container):
    one = ["CAP_KILL"]
    sets = {"bounding": one, "effective": one, "permitted": one}
    script = "grep Cap /proc/self/status"
    path = process_file(container, args=["/bin/sh", "-c", script], capabilities=sets)
    masks = dict(line.split() for line in container.exec(flags=["--process", path]).lines)

    assert masks == {
        "CapInh:": "0000000000000000",
        "CapPrm:": "0000000000000020",
        "CapEff:": "0000000000000020",
        "CapBnd:": "0000000000000020",
        "CapAmb:": "0000000000000000",
    }


def test_a_process_file_sets_rlimits(container):
    limits = [{"type": "RLIMIT_NPROC", "soft": 1000, "hard": 2000}]
    args = ["/bin/grep", "Max processes", "/proc/self/limits"]
    path = process_file(container, args=args, rlimits=limits)

    assert container.exec(flags=["--process", path]).out.split()[2:4] == ["1000", "2000"]


@needs.ids
@pytest.mark.parametrize(
    ("flags", "script", "expected"),
    [
        (["--cwd", "/etc"], "pwd", "/etc"),
        (["--env", "A=1", "--env", "B=2"], "echo $A$B", "12"),
        (["-e", "A=1"], "echo $A", "1"),
        (["--user", "1000:1001"], "id -u; id -g", "1000\n1001"),
        (["-u", "1000"], "id -u", "1000"),
        (["-g", "7", "-g", "8"], "id -G", "0 7 8"),
    ],
)
def test_exec_takes_the_flags_for_people(container, flags, script, expected):
    assert container.exec("/bin/sh", "-c", script, flags=flags).ok().out.strip() == expected


@pytest.mark.parametrize("user", ["a", "1:", ":1", "-1", "1:a", " 1", "4294967296"])
def test_a_user_that_is_no_number_is_refused(runtime, container, user):
    # CVE-2026-30892: crun parsed such words as uid 0.
    result = container.exec("/bin/id", "-u", flags=["--user", user])
    known_of_runc(runtime, "2**32 is taken for uid 0", seen=result.out == "0\n")

    assert result.code != 0
    assert "0\n" not in result.out


def test_exec_drops_capabilities_as_init_did(container):
    init = container.sh("grep Cap /proc/1/status | grep -v CapAmb | grep -v CapInh")

    assert container.sh("grep Cap /proc/self/status | grep -v CapAmb | grep -v CapInh") == init


def test_exec_has_no_new_privileges_as_init(container):
    assert container.sh("grep NoNewPrivs /proc/self/status").split() == ["NoNewPrivs:", "1"]


@needs.rights
@pytest.mark.parametrize(
    ("flag", "module"), [("--apparmor", "apparmor"), ("--process-label", "selinux")]
)
def test_exec_with_a_label_where_the_host_has_none_is_refused(container, flag, module):
    if os.path.exists("/sys/module/apparmor") or os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this host has labels")
    result = container.exec("true", flags=[flag, "some_label"])

    assert result.code == 255
    assert module in result.err.lower()


def test_exec_in_a_created_container_works(runtime, bundle):
    container = runtime.create(bundle)

    assert container.exec("/bin/echo", "hi").out == "hi\n"


def test_exec_in_a_stopped_container_is_refused(runtime, bundle):
    container = runtime.create(bundle).start()
    container.wait()

    assert container.exec("/bin/true").code != 0


@needs.cgroups
def test_exec_in_a_paused_container_is_refused(container):
    container.verb("pause").ok()

    assert container.exec("/bin/true").code != 0


def test_exec_in_an_unknown_container_says_container_does_not_exist(runtime):
    result = runtime("exec", "nosuch", "/bin/true")

    assert result.code != 0
    assert "container does not exist" in result.err


def test_the_process_ends_with_its_container(container):
    read_fd, write_fd = os.pipe()
    container.exec("/bin/sleep", "1000", flags=["--detach"], stdout=write_fd).ok()
    os.close(write_fd)
    container.kill("KILL").ok()
    readable, _, _ = select.select([read_fd], [], [], TIMEOUT_S)

    assert readable
    assert os.read(read_fd, 1) == b""
    os.close(read_fd)


def test_a_working_directory_that_is_missing_is_a_failure(container):
    assert container.exec("/bin/true", flags=["--cwd", "/nosuch/dir"]).code != 0
