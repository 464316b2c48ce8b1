"""Docker on top of the runtime, which daemon.json names."""

from __future__ import annotations

import json
import os

import pytest

from integration import host, needs
from integration.engines.docker import CGROUP, IMAGE, serving
from integration.terminal import OnPty

MB = 1 << 20


@pytest.fixture(scope="module")
def docker_session(image_tar, scratch, program):
    with serving(f"{scratch}/docker", image_tar, program) as made:
        yield made
    host.remove_cgroups(CGROUP.removeprefix("/"))


@pytest.fixture
def docker(docker_session, _no_leaks):
    yield docker_session
    docker_session.clean()
    # The cgroups below which containers, and steps of a build, are: runc keeps both.
    for top in set(host.hierarchies().values()):
        _no_leaks.cgroups.update((f"{top}{CGROUP}", f"{top}{CGROUP}/buildkit"))


# ---- run -----------------------------------------------------------------------------------------
def test_the_container_is_made_by_the_runtime_under_test(docker, program):
    container = docker.up()

    assert docker.inspect(container, "{{.HostConfig.Runtime}}") == "aisbx"
    runtimes = json.loads(docker("info", "--format", "{{json .Runtimes}}").ok().out)
    assert runtimes["aisbx"]["path"] == program
    assert docker("info", "--format", "{{.DefaultRuntime}}").ok().out.strip() == "aisbx"


def test_run_passes_output(docker):
    assert docker.run(IMAGE, "echo", "hi").ok().out == "hi\n"


def test_run_passes_errors_apart(docker):
    result = docker.run(IMAGE, "sh", "-c", "echo out; echo err >&2")

    assert (result.out, result.err) == ("out\n", "err\n")


def test_run_passes_input(docker):
    assert docker.run("-i", IMAGE, "cat", text="hello").out == "hello"


@pytest.mark.parametrize("code", [0, 3, 255])
def test_run_returns_the_exit_code_of_the_program(docker, code):
    assert docker.run(IMAGE, "sh", "-c", f"exit {code}").code == code


@pytest.mark.parametrize(("word", "code"), [("nosuch", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_run_returns_126_and_127(docker, word, code):
    assert docker.run(IMAGE, word).code == code


def test_run_on_a_terminal(docker):
    words = docker.run_words("-it", IMAGE, "sh", "-c", "tty; exit 5")
    with OnPty(words, {**docker.environment, "TERM": "xterm"}) as person:
        code, text = person.finish()

    assert (code, "/dev/pts/0" in text) == (5, True)


def test_logs_keep_what_was_written(docker):
    container = docker.up(command=("sh", "-c", "echo one; echo two >&2"))
    docker("wait", container).ok()
    result = docker("logs", container).ok()

    assert (result.out, result.err) == ("one\n", "two\n")


def test_the_user_the_directory_and_the_environment(docker):
    flags = ["--user=1000:1000", "--workdir=/srv", "--env=A=b", "--hostname=box"]
    result = docker.run(*flags, IMAGE, "sh", "-c", "id -u; pwd; echo $A; hostname").ok()

    assert result.lines == ["1000", "/srv", "b", "box"]


def test_a_read_only_root(docker):
    assert docker.run("--read-only", IMAGE, "touch", "/x").code != 0


def test_volumes_are_mounted(docker, tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "out").mkdir()
    flags = ["-v", f"{tmp_path}:/in:ro", "-v", f"{tmp_path}/out:/out", "--tmpfs=/scratch"]
    script = "touch /in/x 2>/dev/null || cat /in/file; echo made >/out/made; touch /scratch/x"
    result = docker.run(*flags, IMAGE, "sh", "-c", script).ok()

    assert result.out == "text"
    assert (tmp_path / "out/made").read_text() == "made\n"


def test_capabilities_are_dropped_and_no_new_privileges_are_had(docker):
    flags = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
    result = docker.run(*flags, IMAGE, "grep", "-E", "CapEff|NoNewPrivs", "/proc/self/status").ok()

    assert result.out.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


def test_the_default_filter_is_installed(docker):
    assert docker.run(IMAGE, "grep", "Seccomp:", "/proc/self/status").ok().out.split()[1] == "2"


def test_privileged(docker):
    docker.run("--privileged", IMAGE, "mount", "-t", "tmpfs", "t", "/mnt").ok()


def test_a_namespace_of_another_container_and_of_the_host(docker):
    first = docker.up("--ipc=shareable")
    flags = [f"--pid=container:{first}", f"--ipc=container:{first}", "--uts=host"]
    result = docker.run(*flags, IMAGE, "sh", "-c", "pidof sleep; readlink /proc/self/ns/uts").ok()

    assert result.lines == ["1", os.readlink("/proc/self/ns/uts")]


# ---- exec ----------------------------------------------------------------------------------------
def test_exec_returns_output_and_exit_code(docker):
    result = docker("exec", docker.up(), "sh", "-c", "echo hi; exit 3")

    assert (result.code, result.out) == (3, "hi\n")


def test_exec_passes_input(docker):
    assert docker("exec", "-i", docker.up(), "cat", text="hello").out == "hello"


def test_exec_takes_user_directory_and_environment(docker):
    words = ["--user=1000", "--workdir=/tmp", "--env=A=b", docker.up()]
    result = docker("exec", *words, "sh", "-c", "id -u; pwd; echo $A").ok()

    assert result.lines == ["1000", "/tmp", "b"]


@pytest.mark.parametrize(("word", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
def test_exec_returns_126_and_127(docker, word, code):
    assert docker("exec", docker.up(), word).code == code


def test_exec_on_a_terminal(docker):
    words = docker.argv("exec", "-it", docker.up(), "sh", "-c", "tty; exit 5")
    with OnPty(words, {**docker.environment, "TERM": "xterm"}) as person:
        code, text = person.finish()

    assert (code, "/dev/pts/" in text) == (5, True)


def test_a_detached_exec_runs_on(docker):
    container = docker.up()
    docker("exec", "-d", container, "sleep", "1001").ok()

    assert "sleep 1001" in docker("top", container).ok().out


def test_a_health_check_is_executed(docker):
    flags = ["--health-cmd=test -e /healthy", "--health-interval=1s", "--health-retries=1"]
    container = docker.up(*flags)
    docker("exec", container, "touch", "/healthy").ok()

    docker.wait_for(container, "{{.State.Health.Status}}", "healthy")


# ---- signals and states --------------------------------------------------------------------------
def test_stop_sends_term_and_then_kill(docker):
    handles = docker.up(command=("sh", "-c", 'trap "exit 7" TERM; while :; do sleep 0.1; done'))
    ignores = docker.up(command=("sh", "-c", 'trap "" TERM; while :; do sleep 0.1; done'))
    docker("stop", "--timeout=30", handles).ok()
    docker("stop", "--timeout=1", ignores).ok()
    codes = [docker.inspect(name, "{{.State.ExitCode}}") for name in (handles, ignores)]

    assert codes == ["7", "137"]


def test_kill_sends_a_signal(docker):
    container = docker.up(command=("sh", "-c", 'trap "exit 9" USR1; while :; do sleep 0.1; done'))
    docker("kill", "--signal=USR1", container).ok()

    assert docker("wait", container).ok().out == "9\n"


def test_pause_and_unpause(docker):
    container = docker.up()
    docker("pause", container).ok()
    paused = docker.inspect(container, "{{.State.Status}}")
    docker("unpause", container).ok()

    assert (paused, docker.inspect(container, "{{.State.Status}}")) == ("paused", "running")


def test_a_stopped_container_starts_again(docker):
    container = docker.up("--name=again")
    docker("kill", container).ok()
    docker("start", container).ok()

    assert docker("exec", container, "echo", "hi").ok().out == "hi\n"


def test_rm_force_of_a_running_container(docker):
    container = docker.up()
    docker("rm", "--force", container).ok()

    assert docker("ps", "--all", "--quiet").ok().out == ""


# ---- limits --------------------------------------------------------------------------------------
unified = pytest.mark.skipif("not host.unified()", reason="the files are those of cgroup v2")


@unified
@needs.controllers("memory", "cpu", "pids")
def test_limits_are_set(docker):
    flags = ["--memory=64m", "--memory-swap=96m", "--cpus=0.5", "--cpu-shares=512"]
    container = docker.up(*flags, "--pids-limit=50")

    assert docker.limit(container, "memory.max") == str(64 * MB)
    assert docker.limit(container, "memory.swap.max") == str(32 * MB)
    assert docker.limit(container, "cpu.max") == "50000 100000"
    assert docker.limit(container, "pids.max") == "50"


@needs.controllers("memory")
def test_a_memory_limit_kills_and_docker_knows_why(docker):
    container = docker.up("--memory=16m", command=("tail", "-c", "200000000", "/dev/zero"))
    code = docker("wait", container).ok().out

    assert code == "137\n"
    assert docker.inspect(container, "{{.State.OOMKilled}}") == "true"


@needs.controllers("pids")
def test_a_pids_limit_holds(docker):
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 10 & done; echo all"
    result = docker.run("--pids-limit=5", IMAGE, "sh", "-c", script)

    assert (result.out, "fork" in result.err) == ("", True)


@unified
@needs.controllers("memory", "cpu", "pids")
def test_update_changes_the_limits_of_a_running_container(docker):
    container = docker.up("--memory=64m", "--memory-swap=64m")
    flags = ["--memory=96m", "--memory-swap=96m", "--cpus=0.75", "--pids-limit=70"]
    docker("update", *flags, container).ok()

    assert docker.limit(container, "memory.max") == str(96 * MB)
    assert docker.limit(container, "memory.swap.max") == "0"
    assert docker.limit(container, "cpu.max") == "75000 100000"
    assert docker.limit(container, "pids.max") == "70"


@needs.controllers("memory", "pids")
def test_stats_are_those_of_the_container(docker):
    container = docker.up("--memory=64m", command=("sh", "-c", "sleep 1000 & exec sleep 1000"))
    words = ["stats", "--no-stream", "--format", "{{json .}}", container]
    figures = json.loads(docker(*words).ok().out)

    assert figures["PIDs"] == "2"
    assert figures["MemUsage"].endswith("/ 64MiB")


# ---- restart policies ----------------------------------------------------------------------------
def test_a_container_that_fails_is_started_again_as_often_as_asked(docker):
    container = docker.up("--restart=on-failure:2", command=("sh", "-c", "echo up; exit 3"))
    docker.wait_for(container, "{{.RestartCount}} {{.State.Status}}", "2 exited")

    assert docker("logs", container).ok().out == "up\nup\nup\n"


def test_a_container_that_ends_is_always_started_again(docker):
    container = docker.up("--restart=always")
    pid = docker.inspect(container, "{{.State.Pid}}")
    os.kill(int(pid), 9)
    docker.wait_for(container, "{{.RestartCount}} {{.State.Status}}", "1 running")

    assert docker("exec", container, "echo", "hi").ok().out == "hi\n"


# ---- build ---------------------------------------------------------------------------------------
DOCKERFILE = """\
FROM box
RUN echo text >/made && id -u
WORKDIR /srv
USER 1000
RUN id -u; pwd; grep Seccomp: /proc/self/status
CMD ["cat", "/made"]
"""


@pytest.fixture(params=["classic", "buildkit"])
def build(request, docker, tmp_path):
    """Build with one of Docker's builders; return what it says."""
    if request.param == "buildkit" and docker("buildx", "version").code:
        pytest.skip("not installed: docker-buildx")
    environment = {**docker.environment, "DOCKER_BUILDKIT": str(int(request.param == "buildkit"))}

    def built(text, *flags):
        (tmp_path / "Dockerfile").write_text(text)
        words = ["build", "--network=none", "--no-cache", *flags, str(tmp_path)]
        return docker(*words, env=environment)

    yield built
    docker("rmi", "--force", "built")


def test_build_runs_every_step_and_what_was_built_runs(build, docker):
    result = build(DOCKERFILE, "--tag=built").ok()
    said = result.out + result.err

    assert "1000" in said
    assert "/srv" in said
    assert docker.run("built").ok().out == "text\n"


def test_a_failing_step_ends_the_build(build):
    result = build("FROM box\nRUN exit 7\n")

    assert result.code != 0
    assert "7" in result.err
