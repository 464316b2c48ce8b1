"""The process: arguments, environment, directory, user, limits, privileges."""

from __future__ import annotations

import os
import resource

import pytest

from integration import needs
from integration.differences import known_of_runc
from integration.host import lacks_capability, text_of


def test_the_environment_is_only_what_is_given(runtime, bundle):
    bundle.config["process"]["env"] = ["PATH=/bin", "A=1", "EMPTY=", "EQUALS=a=b"]
    bundle.args("/bin/env")
    runtime.run(bundle)
    words = set(runtime.run(bundle).lines) - {"HOME=/root"}

    assert words == {"PATH=/bin", "A=1", "EMPTY=", "EQUALS=a=b"}


def test_arguments_are_passed_unchanged(runtime, bundle):
    words = ["a b", "", "é", "$HOME", "--flag", "\n"]
    bundle.args("/bin/sh", "-c", 'printf "[%s]" "$@"', "sh", *words)

    assert runtime.run(bundle).out == "".join(f"[{word}]" for word in words)


def test_a_big_environment_is_passed(runtime, bundle):
    # CVE-2021-43784: lengths that overflow a 16-bit field.
    bundle.config["process"]["env"].append("BIG=" + "x" * 100_000)

    assert runtime.run(bundle, "echo ${#BIG}").out == "100000\n"


def test_the_program_is_found_in_the_path_of_the_process(runtime, bundle):
    bundle.config["process"]["env"] = ["PATH=/nosuch:/opt:/bin"]
    bundle.file("opt/mine", "#!/bin/sh\necho mine\n", 0o755)

    assert runtime.run(bundle.args("mine")).out == "mine\n"


def test_a_relative_program_is_found_below_the_working_directory(runtime, bundle):
    bundle.config["process"]["cwd"] = "/opt"
    bundle.file("opt/mine", "#!/bin/sh\necho mine\n", 0o755)

    assert runtime.run(bundle.args("./mine")).out == "mine\n"


def test_the_name_of_the_program_is_its_first_argument(runtime, bundle):
    bundle.args("sh", "-c", "tr '\\0' ' ' </proc/self/cmdline; echo $0")

    assert runtime.run(bundle).out.endswith("sh\n")


def test_the_working_directory_is_set(runtime, bundle):
    bundle.config["process"]["cwd"] = "/tmp"

    assert runtime.run(bundle, "pwd").out == "/tmp\n"


def test_a_missing_working_directory_is_made_or_refused(runtime, bundle):
    bundle.config["process"]["cwd"] = "/new/dir"
    result = runtime.run(bundle, "pwd")

    assert result.code != 0 or result.out == "/new/dir\n"


@needs.ids
def test_the_working_directory_may_be_closed_to_root(runtime, bundle):
    # chdir before and after the user switch: runc #2086 and its fixes.
    os.mkdir(f"{bundle.rootfs}/private", 0o700)
    os.chown(f"{bundle.rootfs}/private", 1000, 1000)
    bundle.config["process"]["cwd"] = "/private"
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}

    assert runtime.run(bundle, "pwd").out == "/private\n"


@needs.ids
def test_the_user_and_groups_are_set(runtime, bundle):
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 70]}

    assert runtime.run(bundle, "id -u; id -g; id -G").lines == ["1000", "1001", "1001 5 70"]


@needs.ids
def test_the_groups_of_the_caller_are_dropped(runtime, bundle):
    old = os.getgroups()
    os.setgroups([42, 43])
    try:
        result = runtime.run(bundle, "grep Groups /proc/self/status")
    finally:
        os.setgroups(old)

    assert "42" not in result.ok().out


def test_the_umask_is_set(runtime, bundle):
    bundle.config["process"]["user"]["umask"] = 0o27

    assert runtime.run(bundle, "umask").out == "0027\n"


def test_the_umask_does_not_come_from_the_caller(runtime, bundle):
    old = os.umask(0o077)
    try:
        result = runtime.run(bundle, "umask")
    finally:
        os.umask(old)
    known_of_runc(runtime, "it passes the umask of the caller on", seen=result.out == "0077\n")

    assert result.out == "0022\n"


def test_no_new_privileges_is_set(runtime, bundle):
    script = "grep NoNewPrivs /proc/self/status"

    assert runtime.run(bundle, script).out.split()[1] == "1"


def test_no_new_privileges_is_not_set_when_false(runtime, bundle):
    bundle.config["process"]["noNewPrivileges"] = False
    script = "grep NoNewPrivs /proc/self/status"

    assert runtime.run(bundle, script).out.split()[1] == "0"


@pytest.mark.parametrize("value", [0, 500, 1000])
def test_oom_score_adj_is_set(runtime, bundle, value):
    bundle.config["process"]["oomScoreAdj"] = value

    assert runtime.run(bundle, "cat /proc/self/oom_score_adj").out == f"{value}\n"


def test_oom_score_adj_is_the_callers_when_absent(runtime, bundle):
    # podman sends none; the shim runs with 1.
    own = text_of("/proc/self/oom_score_adj")

    assert runtime.run(bundle, "cat /proc/self/oom_score_adj").out == own


@pytest.mark.parametrize(
    ("kind", "label", "soft", "hard"),
    [
        ("RLIMIT_NOFILE", "Max open files", 100, 200),
        ("RLIMIT_CORE", "Max core file size", 0, 0),
        ("RLIMIT_NPROC", "Max processes", 1000, 2000),
        ("RLIMIT_CPU", "Max cpu time", 100, 200),
        ("RLIMIT_FSIZE", "Max file size", 10000, 20000),
        ("RLIMIT_AS", "Max address space", 1 << 30, 1 << 31),
        ("RLIMIT_STACK", "Max stack size", 1 << 20, 1 << 21),
        ("RLIMIT_DATA", "Max data size", 1 << 30, 1 << 31),
        ("RLIMIT_RSS", "Max resident set", 1 << 30, 1 << 31),
        ("RLIMIT_MEMLOCK", "Max locked memory", 1 << 15, 1 << 16),
        ("RLIMIT_LOCKS", "Max file locks", 10, 20),
        ("RLIMIT_SIGPENDING", "Max pending signals", 100, 200),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 10000, 20000),
        ("RLIMIT_NICE", "Max nice priority", 0, 0),
        ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0),
        ("RLIMIT_RTTIME", "Max realtime timeout", 10000, 20000),
    ],
)
def test_an_rlimit_is_set(runtime, bundle, kind, label, soft, hard):
    bundle.config["process"]["rlimits"] = [{"type": kind, "soft": soft, "hard": hard}]
    result = runtime.run(bundle.args("/bin/grep", label, "/proc/self/limits")).ok()

    assert result.out[len(label) :].split()[:2] == [str(soft), str(hard)]


@pytest.mark.parametrize("infinity", [2**64 - 1])
def test_an_rlimit_may_be_unlimited(runtime, bundle, infinity):
    bundle.config["process"]["rlimits"] = [
        {"type": "RLIMIT_CPU", "soft": infinity, "hard": infinity},
    ]
    result = runtime.run(bundle.args("/bin/grep", "Max cpu time", "/proc/self/limits")).ok()

    assert result.out.split()[3:5] == ["unlimited", "unlimited"]


def test_raising_a_hard_limit_needs_a_capability(runtime, bundle):
    huge = 1 << 30
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": huge, "hard": huge}]

    # Also above fs.nr_open, so that it fails for everybody.
    assert runtime.run(bundle, "true").code != 0


@pytest.mark.skipif(
    lacks_capability(24, "CAP_SYS_RESOURCE") != "",
    reason=lacks_capability(24, "CAP_SYS_RESOURCE"),
)
def test_a_hard_limit_is_raised_with_the_capability(runtime, bundle):
    limit = 600_000
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": limit, "hard": limit}]

    assert runtime.run(bundle, "ulimit -n").out == f"{limit}\n"


def test_an_rlimit_that_is_not_given_is_the_callers(runtime, bundle):
    bundle.config["process"]["rlimits"] = []
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    assert runtime.run(bundle, "ulimit -Hn").out == f"{own}\n"


def test_an_unknown_rlimit_is_refused(runtime, bundle):
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]

    assert runtime.run(bundle, "true").code != 0


@pytest.mark.parametrize("soft", [100, 200])
def test_an_rlimit_that_is_there_twice_is_refused(runtime, bundle, soft):
    # config.md, POSIX process: the same values are no excuse.
    first = {"type": "RLIMIT_CPU", "soft": 100, "hard": 200}
    bundle.config["process"]["rlimits"] = [first, {**first, "soft": soft}]
    result = runtime.run(bundle, "true")
    known_of_runc(runtime, "1.1 takes the last of two rlimits", seen=result.code == 0)

    assert result.code != 0
    assert "RLIMIT_CPU" in result.err


def test_the_annotations_are_in_the_state(runtime, bundle):
    bundle.config["annotations"] = {"a.b": "c", "run.oci.keep_original_groups": "0"}
    container = runtime.create(bundle)

    assert container.state()["annotations"]["a.b"] == "c"


def test_the_program_of_init_is_that_of_the_container(runtime, bundle):
    # CVE-2019-5736: nothing of the runtime is reachable through /proc/self/exe.
    container = runtime.started(bundle)

    assert os.readlink(f"/proc/{container.pid}/exe") == "/bin/busybox"


def test_init_of_a_created_container_is_no_file_of_the_host(runtime, bundle):
    # CVE-2019-5736: what waits inside must not be a host file that can be opened for writing.
    container = runtime.create(bundle)
    exe = os.readlink(f"/proc/{container.pid}/exe")

    assert not os.path.isfile(exe)


def test_no_process_of_the_runtime_lives_in_the_container(runtime, bundle):
    container = runtime.started(bundle)

    assert container.sh("ps -o comm").split() == ["COMMAND", "sleep", "ps"]


@pytest.mark.parametrize(("uid", "home"), [
    (0, "/root"),
    pytest.param(1000, "/home", marks=needs.ids),
    pytest.param(77, "/", marks=needs.ids),
])  # fmt: skip
def test_home_is_that_of_the_user_in_the_image(runtime, bundle, uid, home):
    # podman, docker and containerd leave it to the runtime.
    bundle.config["process"]["env"] = ["PATH=/bin"]
    bundle.config["process"]["user"] = {"uid": uid, "gid": 0}
    first = runtime.run(bundle, "echo $HOME").out
    container = runtime.started(bundle)

    assert (f"{home}\n", f"HOME={home}") == (first, container.exec("/bin/env").ok().lines[-1])


def test_a_home_that_is_given_stays(runtime, bundle):
    bundle.config["process"]["env"] = ["HOME=/mine", "PATH=/bin"]

    assert runtime.run(bundle, "echo $HOME").out == "/mine\n"


def test_the_last_of_two_variables_counts(runtime, bundle):
    # Of two in its environment getenv(3) would find the first.
    bundle.config["process"]["env"] = ["PATH=/bin", "A=1", "A=2", "HOME=/"]
    container = runtime.started(bundle)
    lines = container.exec("/bin/env", flags=["--env", "PATH=/usr/bin:/bin"]).ok().lines

    assert ["PATH=/usr/bin:/bin", "A=2", "HOME=/"] == lines


@pytest.mark.parametrize(("name", "value"), [("AS", 1), ("NOFILE", 0)])
def test_a_limit_that_lets_nothing_run_fails_create(runtime, bundle, name, value):
    # execve(2): with too little of them it is fatal, and not refused.
    limit = {"type": f"RLIMIT_{name}", "soft": value, "hard": value}
    bundle.config["process"]["rlimits"] = [limit]
    result = runtime.try_create(bundle)

    known_of_runc(runtime, "create does not notice; start fails", seen=result.code == 0)
    assert result.code != 0
    assert "process.rlimits" in result.message or runtime.name == "runc"
