"""buildah on top of the runtime: it asks for the state every 100 ms."""

from __future__ import annotations

import pytest

from integration.terminal import OnPty


@pytest.fixture
def container(buildah):
    return buildah.container()


def test_run_passes_output(buildah, container):
    assert buildah.run(container, "echo", "hi").ok().out == "hi\n"


@pytest.mark.parametrize("code", [0, 3, 127])
def test_run_returns_the_exit_code_of_the_program(buildah, container, code):
    assert buildah.run(container, "sh", "-c", f"exit {code}").code == code


def test_run_passes_errors_apart(buildah, container):
    result = buildah.run(container, "sh", "-c", "echo out; echo err >&2").ok()

    assert (result.out, result.err) == ("out\n", "err\n")


def test_run_passes_input(buildah, container):
    assert buildah.run(container, "cat", text="hello").out == "hello"


def test_a_run_that_lasts_is_waited_for(buildah, container):
    # Several rounds of `state`.
    assert buildah.run(container, "sh", "-c", "sleep 1; echo done").ok().out == "done\n"


def test_a_missing_program_is_a_failure(buildah, container):
    result = buildah.run(container, "nosuch")

    assert result.code != 0
    assert "executable file not found in $PATH" in result.message


def test_files_stay_in_the_working_container(buildah, container):
    buildah.run(container, "sh", "-c", "echo text >/made").ok()

    assert buildah.run(container, "cat", "/made").out == "text\n"


def test_run_on_a_terminal(buildah, container):
    words = buildah.run_words("--tty", container, "sh", "-c", "tty; exit 5")
    with OnPty(["buildah", *words], buildah.environment) as person:
        code, text = person.finish()

    assert (code, "/dev/pts/0" in text) == (5, True)


def test_a_volume_is_mounted(buildah, container, tmp_path):
    (tmp_path / "file").write_text("text")

    assert buildah.run("-v", f"{tmp_path}:/mnt:ro", container, "cat", "/mnt/file").out == "text"


def test_the_user_is_set(buildah, container):
    assert buildah.run("--user", "1000", container, "id", "-u").ok().out == "1000\n"


def test_a_mapped_build(buildah, container):
    words = ["--userns-uid-map", "0:300000:65536", "--userns-gid-map", "0:300000:65536"]
    made = buildah("from", "--pull-never", *words, "localhost/box").ok().out.strip()

    assert buildah.run(made, "id", "-u").ok().out == "0\n"


def test_build_runs_every_step(buildah, tmp_path):
    text = """\
FROM localhost/box
RUN echo one >/one
WORKDIR /srv
USER 1000
RUN id -u; pwd
"""
    result = buildah.build(text, str(tmp_path)).ok()

    assert "1000\n/srv\n" in result.out


def test_a_failing_step_ends_the_build(buildah, tmp_path):
    result = buildah.build("FROM localhost/box\nRUN exit 7\n", str(tmp_path))

    assert result.code != 0
    assert "7" in result.err


def test_what_was_built_runs(buildah, podman, tmp_path):
    text = 'FROM localhost/box\nRUN echo text >/made\nCMD ["cat", "/made"]\n'
    buildah.build(text, str(tmp_path), "--tag", "localhost/built").ok()
    result = podman.run("localhost/built")
    podman("rmi", "--force", "localhost/built").ok()

    assert result.out == "text\n"


def test_podman_build(podman, tmp_path):
    (tmp_path / "Containerfile").write_text("FROM localhost/box\nRUN echo hi\n")
    words = ["--network", "none", "--isolation", "oci", "--pull-never"]
    result = podman("build", *words, str(tmp_path))

    assert "hi\n" in result.ok().out
