"""The cases of podman, as a plain user: what a user may ask for comes out as it does for root.

The tests are those of the other files; here are the fixtures that make them a user's.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

from integration.engines import (
    rootless,
    test_podman,
    test_podman_cases,
    test_podman_more,
    test_podman_options,
)
from integration.engines.podman import IMAGE, Podman
from integration.leaks import descendants

PERSON_ID, FIRST_ID = 4242, 2000000  # conftest.SUBORDINATE
SAME = {
    test_podman: """
        attach_shows_output commit_keeps_the_files cp_works_on_a_running_container exec_detached
        exec_on_a_terminal exec_takes_user_directory_and_environment
        preserved_descriptors_reach_the_program restart rm_force_removes_a_running_container
        stop_kills_what_does_not_listen wait_returns_the_exit_code
    """,
    test_podman_cases: """
        a_secret_is_a_file a_secret_has_an_owner_a_mode_and_a_place
        a_secret_is_in_the_environment_of_exec_too
        top_shows_what_the_container_sees a_health_check_runs_inside
        an_initialised_container_waits_for_its_start an_initialised_container_is_removed
        conmon_ends_what_takes_too_long a_container_that_fails_is_started_again
        hooks_of_a_directory_run a_pod_shares_its_processes
        containers_of_a_pod_meet_on_its_loopback a_pod_of_kubernetes_is_played
        a_build_runs_its_commands a_build_ends_with_its_failing_command
        a_build_sees_secrets_and_mounts
    """,
    test_podman_more: """
        a_systemd_container a_volume_with_many_options
        a_read_only_container_has_writable_temporary_directories masks_are_lifted masks_are_added
        a_filter_of_the_user oom_score_adj passthrough_of_the_log_driver a_mount_of_an_image
        a_tmpfs_mount_with_options
    """,
    test_podman_options: """
        init_reaps privileged_has_all a_namespace_of_a_container_is_shared
        a_pod_shares_namespaces a_pod_is_stopped_and_removed all_capabilities_are_dropped
        a_capability_is_added_for_another_user groups_are_added the_default_filter_is_in_place
        masked_paths_are_masked a_tmpfs_is_mounted a_named_volume_gets_what_is_below_it
        a_sysctl_is_set shm_has_the_size no_new_privileges_is_set
    """,
}
for _module, _names in SAME.items():
    globals().update({f"test_{name}": getattr(_module, f"test_{name}") for name in _names.split()})
secret, kube, built = test_podman_cases.secret, test_podman_cases.kube, test_podman_cases.built


class UsersPodman(Podman):
    """podman of a user, to whom the files belong that a test, as root, has made for it."""

    tests = ""

    def __call__(self, *words, **options):
        owner = f"{PERSON_ID}:{PERSON_ID}"
        subprocess.run(["chown", "-R", "--from=0:0", owner, self.tests], check=True)
        return super().__call__(*words, **options)


@pytest.fixture(scope="module")
def person(program, containers_etc, image_tar, scratch, subordinate_ids):
    """podman of a plain user with storage of its own."""
    found = rootless.podman_of(PERSON_ID, program, scratch, image_tar)
    made = UsersPodman(found.program, found.environment, found.prefix)
    made.tests = f"{scratch}/person/tests"
    os.mkdir(made.tests)
    yield made
    made("system", "migrate")  # ends the pause process


@pytest.fixture
def podman(person, _no_leaks):
    yield person
    person("pod", "rm", "--force", "--all", "--time", "0").ok()
    person("rm", "--force", "--all", "--time", "0").ok()
    # The process that holds the user namespace of this user is podman's, and stays.
    for pid, name in descendants().items():
        if "podman pause" in name or "catatonit" in name:
            _no_leaks.processes.add(pid)


@pytest.fixture
def pod_infra(person):
    """The flags of `pod create` that need neither network nor a build."""
    return ["--infra-image", IMAGE, "--infra-command", "sleep 1000"]


@pytest.fixture
def tmp_path(person, request):
    """A directory of the user: pytest's own are root's."""
    path = pathlib.Path(f"{person.tests}/{request.node.name.partition('[')[0]}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_a_volume_is_given_to_a_subordinate_user(podman, tmp_path):
    words = ["-v", f"{tmp_path}:/data:U", "--user", "1000:1001"]
    podman.run(*words, IMAGE, "sh", "-c", "echo new >/data/made").ok()

    for path in (tmp_path, tmp_path / "made"):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (FIRST_ID + 999, FIRST_ID + 1000)


@pytest.fixture
def layers(tmp_path):
    """What an overlay volume is made of, the user's."""
    (tmp_path / "lower").mkdir()
    (tmp_path / "lower/file").write_text("text\n")
    for path in (tmp_path / "upper", tmp_path / "work"):
        path.mkdir()
    return tmp_path


@pytest.mark.parametrize("kept", [False, True])
def test_an_overlay_volume_leaves_the_directory_as_it_was(podman, layers, kept):
    option = f"O,upperdir={layers}/upper,workdir={layers}/work" if kept else "O"
    script = "cat /mnt/file; echo new >/mnt/file; cat /mnt/file"
    result = podman.run("-v", f"{layers}/lower:/mnt:{option}", IMAGE, "sh", "-c", script)

    assert result.ok().out == "text\nnew\n"
    assert (layers / "lower/file").read_text() == "text\n"
    assert (layers / "upper/file").exists() == kept
