"""podman: the life of a container, exit codes and stdio."""

from __future__ import annotations

import json

import pytest

from integration.engines.podman import IMAGE
from integration.runtime import call
from integration.terminal import OnPty


def test_run_passes_output(podman):
    result = podman.run(IMAGE, "echo", "hi").ok()

    assert (result.out, result.err) == ("hi\n", "")


def test_the_runtime_is_found_by_the_name_aisbx(podman):
    # Through the drop-in that `make install` writes.
    assert podman.run(IMAGE, "echo", "hi", runtime="aisbx").ok().out == "hi\n"


def test_info_shows_the_runtime(podman, program):
    info = json.loads(podman("info", "--format", "json").ok().out)

    assert info["host"]["ociRuntime"]["path"] == program
    assert info["host"]["ociRuntime"]["version"]


@pytest.mark.parametrize("code", [0, 3, 126, 127, 137, 255])
def test_run_returns_the_exit_code_of_the_program(podman, code):
    assert podman.run(IMAGE, "sh", "-c", f"exit {code}").code == code


def test_run_returns_127_for_a_missing_program(podman):
    assert podman.run(IMAGE, "nosuch").code == 127


def test_run_returns_127_for_a_missing_path(podman):
    assert podman.run(IMAGE, "/no/such/program").code == 127


def test_run_returns_126_for_a_file_that_is_not_executable(podman):
    assert podman.run(IMAGE, "/etc/passwd").code == 126


def test_run_returns_126_for_a_directory(podman):
    assert podman.run(IMAGE, "/etc").code == 126


def test_the_message_of_a_missing_program_is_clear_by_name(podman):
    # By name --log-format json is used and the one object of the log is shown.
    result = podman.run(IMAGE, "nosuch", runtime="aisbx")

    assert result.code == 127
    assert "executable file not found in $PATH" in result.message


def test_run_passes_input(podman):
    assert podman.run("-i", IMAGE, "cat", text="hello").out == "hello"


def test_run_passes_errors_apart(podman):
    result = podman.run(IMAGE, "sh", "-c", "echo out; echo err >&2").ok()

    assert (result.out, result.err) == ("out\n", "err\n")


def test_run_on_a_terminal(podman):
    argv = podman.argv("run", "--rm", "-it", "--network", "none", IMAGE, "sh", "-c", "tty; exit 5")
    with OnPty(argv, podman.environment) as person:
        code, text = person.finish()

    assert (code, text.strip()) == (5, "/dev/pts/0")


def test_a_shell_on_a_terminal_takes_what_is_typed(podman):
    argv = podman.argv("run", "--rm", "-it", "--network", "none", IMAGE, "sh")
    with OnPty(argv, podman.environment) as person:
        person.expect("# ")
        person.type("echo got:$((6*7))\n")
        person.expect("got:42")
        person.type("exit 4\n")

        assert person.finish()[0] == 4


def test_a_container_runs_in_the_background(podman):
    container = podman.up()

    assert podman.inspect(container, "{{.State.Status}}") == "running"


def test_logs_has_what_was_written(podman):
    container = podman.up(command=("sh", "-c", "echo out; echo err >&2"))
    podman("wait", container).ok()
    result = podman("logs", container).ok()

    assert (result.out, result.err) == ("out\n", "err\n")


def test_wait_returns_the_exit_code(podman):
    container = podman.up(command=("sh", "-c", "exit 9"))

    assert podman("wait", container).ok().out.strip() == "9"


def test_exec_runs_a_program(podman):
    container = podman.up()
    result = podman("exec", container, "sh", "-c", "echo hi; exit 3")

    assert (result.code, result.out) == (3, "hi\n")


@pytest.mark.parametrize(("word", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
def test_exec_returns_126_and_127(podman, word, code):
    assert podman("exec", podman.up(), word).code == code


def test_exec_passes_input(podman):
    assert podman("exec", "-i", podman.up(), "cat", text="hello").out == "hello"


def test_exec_on_a_terminal(podman):
    argv = podman.argv("exec", "-it", podman.up(), "sh", "-c", "tty; exit 5")
    with OnPty(argv, podman.environment) as person:
        code, text = person.finish()

    assert code == 5
    assert text.startswith("/dev/pts/")


def test_exec_takes_user_directory_and_environment(podman):
    flags = ["--user", "1000:1000", "--workdir", "/tmp", "--env", "A=b"]
    result = podman("exec", *flags, podman.up(), "sh", "-c", "id -u; pwd; echo $A").ok()

    assert result.lines == ["1000", "/tmp", "b"]


def test_exec_detached(podman):
    container = podman.up()
    podman("exec", "-d", container, "sh", "-c", "echo done >/dev/shm/made").ok()
    script = "while ! grep done /dev/shm/made 2>/dev/null; do usleep 10000; done"

    assert podman("exec", container, "sh", "-c", script).out == "done\n"


def test_stop_ends_a_container(podman):
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait; done"
    container = podman.up(command=("sh", "-c", script))
    podman("exec", container, "sh", "-c", "while ! pidof sleep; do usleep 10000; done").ok()
    podman("stop", container).ok()

    assert podman.inspect(container, "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"


def test_stop_kills_what_does_not_listen(podman):
    container = podman.up()  # pid 1 ignores TERM
    podman("stop", "--time", "0", container).ok()

    assert podman.inspect(container, "{{.State.ExitCode}}") == "137"


@pytest.mark.parametrize("name", ["KILL", "9"])
def test_kill_sends_a_signal(podman, name):
    container = podman.up()
    podman("kill", "--signal", name, container).ok()
    podman("wait", container).ok()

    assert podman.inspect(container, "{{.State.ExitCode}}") == "137"


def test_a_stopped_container_starts_again(podman):
    container = podman.up(command=("sh", "-c", "echo again"))
    podman("wait", container).ok()

    assert podman("start", "--attach", container).ok().out == "again\n"


def test_restart(podman):
    container = podman.up()
    first = podman.inspect(container, "{{.State.Pid}}")
    podman("restart", "--time", "0", container).ok()

    assert podman.inspect(container, "{{.State.Status}}") == "running"
    assert podman.inspect(container, "{{.State.Pid}}") != first


def test_rm_force_removes_a_running_container(podman):
    container = podman.up()
    podman("rm", "--force", "--time", "0", container).ok()

    assert podman("inspect", container).code != 0


def test_pause_and_unpause(podman):
    container = podman.up()
    podman("pause", container).ok()
    paused = podman.inspect(container, "{{.State.Status}}")
    podman("unpause", container).ok()

    assert (paused, podman.inspect(container, "{{.State.Status}}")) == ("paused", "running")


def test_rm_force_of_a_paused_container(podman):
    container = podman.up()
    podman("pause", container).ok()

    assert podman("rm", "--force", "--time", "0", container).code == 0


def test_commit_keeps_the_files(podman):
    # It pauses the container meanwhile.
    container = podman.up(command=("sh", "-c", "echo text >/made; exec sleep 1000"))
    podman("exec", container, "sh", "-c", "while ! test -s /made; do usleep 10000; done").ok()
    podman("commit", container, "localhost/committed").ok()
    result = podman.run("localhost/committed", "cat", "/made")
    podman("rmi", "--force", "localhost/committed").ok()

    assert result.out == "text\n"


def test_top_and_stats_read_the_process(podman):
    container = podman.up()

    assert "sleep" in podman("top", container).ok().out
    assert podman("stats", "--no-stream", container).code == 0


def test_cp_works_on_a_running_container(podman, tmp_path):
    (tmp_path / "file").write_text("text")
    container = podman.up()
    podman("cp", str(tmp_path / "file"), f"{container}:/tmp/file").ok()

    assert podman("exec", container, "cat", "/tmp/file").out == "text"


def test_attach_shows_output(podman):
    container = podman("create", "--network", "none", IMAGE, "echo", "hi").ok().out.strip()

    assert podman("start", "--attach", container).out == "hi\n"


def test_preserved_descriptors_reach_the_program(podman, tmp_path):
    (tmp_path / "a").write_text("text of a")
    argv = podman.argv("run", "--rm", "--network", "none", "--preserve-fds", "1", IMAGE)
    shell = ["sh", "-c", 'exec 3<"$0"; exec "$@"', str(tmp_path / "a")]
    result = call([*shell, *argv, "sh", "-c", "cat <&3"], env=podman.environment)

    assert result.out == "text of a"
