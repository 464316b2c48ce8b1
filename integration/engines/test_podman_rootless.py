"""podman as a plain user: the runtime runs as root of podman's user namespace."""

from __future__ import annotations

import os

import pytest

from integration import host
from integration.engines import rootless
from integration.engines.podman import IMAGE
from integration.leaks import descendants
from integration.terminal import OnPty

PERSON_ID = 4242


@pytest.fixture(scope="module")
def person(program, containers_etc, image_tar, scratch, subordinate_ids):
    """podman of a plain user with storage of its own."""
    made = rootless.podman_of(PERSON_ID, program, scratch, image_tar)
    yield made
    made("system", "migrate")  # ends the pause process


@pytest.fixture
def podman(person, _no_leaks):
    yield person
    person("rm", "--force", "--all", "--time", "0").ok()
    # The process that holds the user namespace of this user is podman's, and stays.
    for pid, name in descendants().items():
        if "podman pause" in name or "catatonit" in name:
            _no_leaks.processes.add(pid)


def test_run(podman):
    assert podman.run(IMAGE, "echo", "hi").ok().out == "hi\n"


@pytest.mark.parametrize("code", [0, 3, 127])
def test_run_returns_the_exit_code_of_the_program(podman, code):
    assert podman.run(IMAGE, "sh", "-c", f"exit {code}").code == code


@pytest.mark.parametrize(("word", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
def test_run_returns_126_and_127(podman, word, code):
    assert podman.run(IMAGE, word).code == code


def test_root_inside_is_the_person_outside(podman):
    container = podman.up()
    pid = podman.inspect(container, "{{.State.Pid}}")

    assert os.stat(f"/proc/{pid}").st_uid == PERSON_ID
    assert podman("exec", container, "id", "-u").ok().out == "0\n"


def test_keep_id_keeps_the_id(podman):
    result = podman.run("--userns", "keep-id", IMAGE, "id", "-u")

    assert result.ok().out == f"{PERSON_ID}\n"


def test_keep_id_with_a_volume(podman, scratch):
    path = f"{scratch}/person/volume"
    os.makedirs(path, exist_ok=True)
    os.chown(path, PERSON_ID, PERSON_ID)
    podman.run("--userns", "keep-id", "-v", f"{path}:/mnt", IMAGE, "touch", "/mnt/file").ok()

    assert os.stat(f"{path}/file").st_uid == PERSON_ID


def test_userns_auto(podman):
    assert podman.run("--userns", "auto:size=1000", IMAGE, "id", "-u").ok().out == "0\n"


def test_another_user_inside(podman):
    assert podman.run("--user", "1000", IMAGE, "id", "-u").ok().out == "1000\n"


def test_exec_and_stop(podman):
    container = podman.up()
    result = podman("exec", container, "sh", "-c", "echo hi; exit 3")
    podman("stop", "--time", "0", container).ok()

    assert (result.code, result.out) == (3, "hi\n")


def test_run_on_a_terminal(podman):
    argv = podman.argv("run", "--rm", "-it", "--network", "none", IMAGE, "sh", "-c", "tty; exit 5")
    with OnPty(argv, podman.environment) as terminal:
        code, text = terminal.finish()

    assert (code, text.strip()) == (5, "/dev/pts/0")


def test_logs(podman):
    container = podman.up(command=("echo", "hi"))
    podman("wait", container).ok()

    assert podman("logs", container).ok().out == "hi\n"


def test_a_volume_is_read_only(podman, scratch):
    path = f"{scratch}/person"
    result = podman.run("-v", f"{path}:/mnt:ro", IMAGE, "touch", "/mnt/x")

    assert "Read-only file system" in result.err


def test_the_network_of_the_host_is_shared(podman):
    result = podman("run", "--rm", "--network", "host", IMAGE, "readlink", "/proc/self/ns/net")

    assert result.ok().out.strip() == os.readlink("/proc/self/ns/net")


def test_a_cgroup_is_not_needed(podman):
    # No cgroupsPath is sent, and device rules that are not permitted must be ignored.
    if host.unified():
        pytest.skip("on cgroup v2 a user may have a delegated cgroup")

    assert podman.run(IMAGE, "cat", "/proc/self/cgroup").code == 0
