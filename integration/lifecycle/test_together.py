"""Several callers at once: engines run verbs on one container, and on many, at the same time."""

from __future__ import annotations

import subprocess

from integration.differences import known_of_runc
from integration.runtime import PATH, TIMEOUT_S


def all_at_once(*calls):
    """Start programs at the same time and return their exit codes."""
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": {"PATH": PATH},
    }
    running = [subprocess.Popen(argv, **quiet) for argv in calls]
    return [process.wait(TIMEOUT_S) for process in running]


def test_many_containers_run_at_once(runtime, new_bundle):
    bundles = [new_bundle().script("exit 3").save() for _ in range(8)]
    runtime.made += [bundle.id for bundle in bundles]
    codes = all_at_once(*(runtime.argv("run", "-b", each.path, each.id) for each in bundles))

    assert codes == [3] * 8


def test_only_one_of_two_creates_of_an_id_succeeds(runtime, new_bundle):
    first, second = new_bundle().save(), new_bundle().save()
    runtime.made.append(first.id)
    codes = all_at_once(
        *(runtime.argv("create", "--bundle", each.path, first.id) for each in (first, second)),
    )

    known_of_runc(runtime, "both of two creates at once may fail", seen=codes == [1, 1])

    assert sorted(codes) == [0, 1]
    assert '"created"' in runtime("state", first.id).out


def test_only_one_of_two_starts_succeeds(runtime, bundle):
    container = runtime.create(bundle.script("exec sleep 1000"))
    codes = all_at_once(*[runtime.argv("start", bundle.id)] * 2)

    assert sorted(codes) == [0, 1]
    assert container.status == "running"


def test_two_forced_deletes_at_once_both_succeed(runtime, bundle):
    # podman rm --force and its cleanup process.
    container = runtime.create(bundle.script("true")).start()
    container.wait()
    codes = all_at_once(*[runtime.argv("delete", "--force", bundle.id)] * 3)

    assert codes == [0, 0, 0]


def test_delete_and_kill_at_once_leave_nothing(runtime, bundle):
    container = runtime.started(bundle)
    all_at_once(
        runtime.argv("kill", bundle.id, "KILL"),
        runtime.argv("delete", "--force", bundle.id),
    )
    container.wait()
    runtime("delete", "--force", bundle.id).ok()

    assert container.verb("state").code == 1


def test_many_execs_run_at_once(runtime, bundle):
    runtime.started(bundle)
    codes = all_at_once(*[runtime.argv("exec", bundle.id, "/bin/sh", "-c", "exit 5")] * 8)

    assert codes == [5] * 8


def test_list_never_fails_while_containers_come_and_go(runtime, new_bundle):
    bundles = [new_bundle().script("true").save() for _ in range(6)]
    runtime.made += [bundle.id for bundle in bundles]
    runs = [runtime.argv("run", "-b", each.path, each.id) for each in bundles]
    lists = [runtime.argv("list"), runtime.argv("list", "--format", "json")] * 3

    assert (
        all_at_once(*(argv for pair in zip(runs, lists, strict=True) for argv in pair)) == [0] * 12
    )


def test_pause_and_kill_at_once(runtime, bundle):
    container = runtime.started(bundle)
    all_at_once(runtime.argv("pause", bundle.id), runtime.argv("kill", bundle.id, "KILL"))
    container.delete("--force").ok()

    assert container.wait() == 137
