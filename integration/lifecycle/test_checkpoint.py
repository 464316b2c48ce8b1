"""checkpoint and restore: a container goes on where it was, as it was, or nothing has happened.

By a real criu on this machine's kernel, see `integration.criu`. Its own limits are not tested.
"""

from __future__ import annotations

import json
import os

import pytest

from integration import criu, host
from integration.checkpoints import COUNTER, QUIET, connected
from integration.differences import known_of_runc
from integration.runtime import PATH


# ---- there and back ------------------------------------------------------------------------------
def test_a_counter_goes_on_where_it_was(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    reached = checkpoints.number()
    restored = checkpoints.restored()

    assert checkpoints.counts_on()
    assert reached < checkpoints.number() < reached + 1000
    assert ("running", restored.pid) == (restored.status, restored.state()["pid"])


def test_a_checkpointed_container_is_deleted(checkpoints):
    container = checkpoints.started()
    result = checkpoints.checkpoint().ok()

    assert ("", "") == (result.out, result.err)
    assert "does not exist" in container.verb("state").message
    assert [] == [path for path in host.hierarchies().values()
                  if os.path.isdir(f"{path}{checkpoints.bundle.cgroup}")]  # fmt: skip


def test_an_image_can_be_restored_more_than_once(checkpoints):
    checkpoints.there_and_back().delete("--force").ok()
    restored = checkpoints.restored()

    assert "running" == restored.status
    assert checkpoints.counts_on()


def test_a_restored_container_can_be_checkpointed_again(checkpoints):
    restored = checkpoints.there_and_back()
    checkpoints.checkpoint().ok()
    restored.wait()
    checkpoints.restored()

    assert checkpoints.counts_on()


def test_a_restored_container_takes_every_verb(checkpoints):
    restored = checkpoints.there_and_back()
    pids = json.loads(checkpoints.runtime("ps", "--format", "json", restored.id).ok().out)

    assert restored.pid in pids
    assert "inside\n" == restored.sh("echo inside")
    restored.verb("pause").ok()
    assert "paused" == restored.status
    restored.verb("resume").ok()
    assert restored.id in checkpoints.runtime("list", "-q").ok().lines
    restored.kill("KILL").ok()
    assert 128 + 9 == restored.wait()
    assert "stopped" == restored.status
    restored.delete().ok()


def test_init_of_a_restored_container_is_the_child_of_who_called(checkpoints):
    restored = checkpoints.there_and_back()
    restored.kill("KILL").ok()

    # Container.wait reaps: that works for a child only, and this process is a subreaper.
    assert 128 + 9 == restored.wait()


def test_restore_in_front_ends_with_the_exit_code_and_deletes(checkpoints):
    container = checkpoints.started(
        COUNTER.replace("    pause", "    pause; [ ! -e /tmp/go ] || exit 7")
    )
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.bundle.file("tmp/go", "")
    words = ("restore", "--bundle", checkpoints.bundle.path, "--image-path", checkpoints.image)
    result = checkpoints.runtime(*words, container.id, env={"PATH": checkpoints.path}, **QUIET)

    assert 7 == result.code
    assert "does not exist" in container.verb("state").message


def test_restore_under_another_id_is_possible(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    name = f"{container.id}-other"
    checkpoints.restore(container_id=name, **QUIET).ok()

    assert "running" == json.loads(checkpoints.runtime("state", name).ok().out)["status"]
    checkpoints.runtime("delete", "--force", name).ok()


def test_restore_under_an_id_in_use_is_refused(checkpoints):
    checkpoints.there_and_back()
    result = checkpoints.restore()

    assert 1 == result.code
    assert checkpoints.counts_on()


# ---- leaving it running --------------------------------------------------------------------------
def test_with_leave_running_it_goes_on(checkpoints):
    container = checkpoints.started()
    # podman says it twice.
    checkpoints.checkpoint("--leave-running", "--leave-running").ok()

    assert "running" == container.status
    assert checkpoints.counts_on()
    container.kill("KILL").ok()
    container.wait()
    container.delete().ok()
    checkpoints.restored()
    assert checkpoints.counts_on()


def test_a_paused_container_can_be_checkpointed(checkpoints):
    container = checkpoints.started()
    container.verb("pause").ok()
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.restored()

    assert checkpoints.counts_on()


def test_a_pre_dump_is_the_parent_of_the_image(checkpoints, bin_directory):
    reason = criu.lacks(bin_directory, "mem_dirty_track")
    if reason:
        pytest.skip(reason)
    container = checkpoints.started()
    parent = f"{checkpoints.bundle.path}/parent"
    words = ("checkpoint", "--pre-dump", "--image-path", parent, container.id)
    checkpoints.runtime(*words, env={"PATH": checkpoints.path}).ok()

    assert checkpoints.counts_on()
    checkpoints.checkpoint("--parent-path", "../parent").ok()
    container.wait()
    assert os.path.samefile(parent, f"{checkpoints.image}/parent")
    checkpoints.restored()
    assert checkpoints.counts_on()


def test_a_pre_dump_that_the_kernel_cannot_do_is_refused(checkpoints, bin_directory):
    if not criu.lacks(bin_directory, "mem_dirty_track"):
        pytest.skip("this kernel tracks changes of memory")
    container = checkpoints.started()
    result = checkpoints.checkpoint("--pre-dump")

    assert 1 == result.code
    assert "running" == container.status
    assert checkpoints.counts_on()


@pytest.mark.parametrize("parent", ["/tmp", "../missing"])
def test_a_parent_must_be_a_directory_beside_the_image(checkpoints, parent):
    checkpoints.started()
    result = checkpoints.checkpoint("--parent-path", parent)

    assert 1 == result.code
    assert "--parent-path" in result.message
    assert checkpoints.counts_on()


# ---- refused -------------------------------------------------------------------------------------
def test_only_what_runs_can_be_checkpointed(checkpoints):
    container = checkpoints.runtime.create(checkpoints.bundle)

    assert 1 == checkpoints.checkpoint().code
    assert "created" == container.status


def test_a_failing_checkpoint_leaves_it_running(checkpoints):
    # criu takes open connections along only when it is told to.
    container = connected(checkpoints)
    result = checkpoints.checkpoint()

    assert 1 == result.code
    assert "running" == container.status
    assert checkpoints.counts_on()
    if checkpoints.runtime.name != "runc":
        assert "--tcp-established" in result.message or "Connected TCP socket" in result.message
        assert f"{checkpoints.work}/dump.log" in result.message


def test_a_criu_that_dies_leaves_it_running(checkpoints, bin_directory):
    container = checkpoints.started()
    cgroup = f"{host.hierarchies().get('', '/missing')}{checkpoints.bundle.cgroup}"
    if not os.path.exists(f"{cgroup}/cgroup.freeze"):
        pytest.skip("no cgroup v2 on this host")
    directory = f"{checkpoints.bundle.path}/bin"
    os.mkdir(directory)
    # As if killed when all is frozen. Later it has code of its own in the processes.
    with open(f"{directory}/criu", "w") as text:
        text.write(
            f'#!/bin/sh\n[ "$1" = swrk ] || exec {bin_directory}/criu "$@"\n'
            f"echo 1 >{cgroup}/cgroup.freeze\n"
            f"until grep -q 'frozen 1' {cgroup}/cgroup.events; do :; done\nkill -KILL $$\n"
        )
    os.chmod(f"{directory}/criu", 0o755)
    result = checkpoints.checkpoint(env={"PATH": f"{directory}:{PATH}"})
    frozen = "frozen 1" in host.text_of(f"{cgroup}/cgroup.events")
    known_of_runc(checkpoints.runtime, "stays frozen", seen=frozen)

    assert 1 == result.code
    assert "running" == container.status
    assert checkpoints.counts_on()


def test_a_failing_restore_leaves_nothing(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    os.unlink(f"{checkpoints.image}/pstree.img")
    result = checkpoints.restore()

    assert 1 == result.code
    assert "does not exist" in container.verb("state").message
    assert not os.path.exists(f"{checkpoints.bundle.path}/pid")
    if checkpoints.runtime.name != "runc":
        assert f"{checkpoints.work}/restore.log" in result.message


def test_an_image_that_is_not_there_is_an_error(checkpoints):
    checkpoints.bundle.save()
    result = checkpoints.restore()

    assert 1 == result.code


def test_a_user_namespace_is_refused_while_it_runs(checkpoints):
    checkpoints.bundle.user_namespace()
    os.chmod(f"{checkpoints.bundle.rootfs}/tmp", 0o777)
    container = checkpoints.started()
    result = checkpoints.checkpoint()
    known_of_runc(checkpoints.runtime, "saves what cannot be restored", seen=not result.code)

    assert 1 == result.code
    assert "user namespace" in result.message
    assert "running" == container.status
    assert checkpoints.counts_on()


def test_a_shared_mount_is_refused_while_it_runs(checkpoints):
    checkpoints.bundle.mount("/mnt", "bind", checkpoints.bundle.path, "bind", "rshared")
    container = checkpoints.started()
    result = checkpoints.checkpoint()
    known_of_runc(checkpoints.runtime, "shares nothing once restored", seen=not result.code)

    assert 1 == result.code
    assert "mounts[" in result.message
    assert "running" == container.status


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_help_says_whether_criu_can_be_used(runtime, bundle, bin_directory, verb):
    os.mkdir(f"{bundle.path}/bin")
    with open(f"{bundle.path}/bin/criu", "w") as text:
        text.write("#!/bin/sh\necho Version: 3.17.1\n")
    os.chmod(f"{bundle.path}/bin/criu", 0o755)
    works = runtime(verb, "--help", env={"PATH": f"{bin_directory}:{PATH}"})
    old = runtime(verb, "--help", env={"PATH": f"{bundle.path}/bin:{PATH}"})
    known_of_runc(runtime, "helps whether there is a criu or not", seen=not old.code)

    assert (0, "") == (works.code, works.err)
    assert "--image-path" in works.out
    assert 1 == old.code
    assert "3.17.1" in old.message


def test_features_and_doctor_say_the_same_as_help(runtime, bin_directory):
    if runtime.name == "runc":
        pytest.skip("documented difference of runc: it has no doctor")
    for path, works in ((f"{bin_directory}:{PATH}", True), (PATH, os.access("/usr/sbin/criu", 1))):
        document = json.loads(runtime("features", env={"PATH": path}).ok().out)
        checks = json.loads(runtime("doctor", "--json", env={"PATH": path}).out)["checks"]
        state = next(one["state"] for one in checks if one["name"] == "criu")
        told = document["annotations"]["org.opencontainers.runc.checkpoint.enabled"]
        code = runtime("checkpoint", "--help", env={"PATH": path}).code

        assert (works, works, works) == (told == "true", state == "ok", code == 0)
