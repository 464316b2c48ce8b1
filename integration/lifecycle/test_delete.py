"""`delete`: what it refuses, what it kills, and several at once."""

from __future__ import annotations

import signal

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.leaks import cgroups


def test_delete_of_a_running_container_is_refused(runtime, bundle):
    container = runtime.started(bundle)
    result = container.delete()

    assert result.code == 1
    assert f"cannot delete container {bundle.id} that is not stopped: running" in result.err
    assert container.status == "running"


@pytest.mark.parametrize("flag", ["--force", "-f"])
def test_delete_force_kills_a_running_container(runtime, bundle, flag):
    container = runtime.started(bundle)
    container.delete(flag).ok()

    assert container.wait() == 128 + signal.SIGKILL
    assert container.verb("state").code == 1


def test_delete_force_removes_a_created_container(runtime, bundle):
    container = runtime.create(bundle)
    container.delete("--force").ok()

    assert container.wait() == 128 + signal.SIGKILL


@needs.cgroups
def test_delete_force_of_a_container_without_a_pid_namespace_kills_all(runtime, bundle):
    bundle.without_namespace("pid")
    container = runtime.started(bundle, "sleep 1000 & exec sleep 1001")
    result = container.delete("--force")
    left = cgroups()
    host.remove_cgroups(bundle.id)
    known_of_runc(runtime, "it leaves the cgroup (v2)", seen=left != set())

    assert (result.code, left) == (0, set())


def test_delete_force_does_not_wait_for_others_to_reap_what_exec_started(runtime, bundle):
    # pid_namespaces(7): until then init of the container cannot end. An engine may be in this call.
    container = runtime.started(bundle)
    container.exec("/bin/sleep", "1000", flags=["--detach"]).ok()
    result = container.delete("--force")
    known_of_runc(runtime, "it waits 10 s and leaves the container", seen=result.code != 0)

    assert (result.code, cgroups()) == (0, set())
    assert container.verb("state").code == 1


@pytest.mark.parametrize("flag", ["--regex", "-r"])
def test_delete_by_a_regular_expression_deletes_what_it_is_found_in(runtime, new_bundle, flag):
    first, second, other = (new_bundle() for _ in range(3))
    first.id, second.id = f"one-{first.id}", f"one-{second.id}"
    for bundle in (first, second, other):
        runtime.started(bundle)
    result = runtime("delete", "--force", flag, "^one-")
    known_of_runc(runtime, "it has no --regex", seen=result.code != 0)
    left = runtime("list", "-q").ok().lines

    assert (result.code, left) == (0, [other.id])


def test_one_that_is_not_deleted_keeps_no_other_of_the_expression(runtime, new_bundle):
    bundles = [new_bundle() for _ in range(3)]
    runtime.started(bundles[0])
    for bundle in bundles[1:]:
        runtime.create(bundle.script("true")).start().wait()
    result = runtime("delete", "--regex", ".")
    known_of_runc(runtime, "it has no --regex", seen="flag" in result.message)

    assert result.code != 0
    assert bundles[0].id in result.message
    assert runtime("list", "-q").ok().lines == [bundles[0].id]


def test_what_is_no_regular_expression_deletes_nothing(runtime, bundle):
    container = runtime.started(bundle)
    result = runtime("delete", "--force", "--regex", "(")

    assert result.code != 0
    assert container.status == "running"


def test_delete_of_an_unknown_container_says_container_does_not_exist(runtime):
    result = runtime("delete", "nosuch")

    assert result.code == 1
    assert "container does not exist" in result.err


def test_delete_force_of_an_unknown_container_succeeds_in_silence(runtime):
    result = runtime("delete", "--force", "nosuch")

    assert (result.code, result.out, result.err) == (0, "", "")
