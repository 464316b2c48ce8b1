"""start, exec, delete, run: a failure or a SIGKILL in the middle, and what is true afterwards."""

from __future__ import annotations

import json
import os

import pytest

from integration import leaks
from integration.faults import plans
from integration.faults.faulty import CHANGING, FALLIBLE, KILLED, Scene, misreported


def made(faulty, bundle):
    """Create a container that has hooks and sleeps once it is started."""
    plans.hooked(bundle)
    bundle.script("exec sleep 1000").save()
    faulty.runtime.made.append(bundle.id)


def create(faulty, bundle):
    faulty.runtime("create", "--bundle", bundle.path, bundle.id).ok()


def status_of(faulty, bundle):
    return json.loads(faulty.runtime("state", bundle.id).ok().out)["status"]


def deleted(faulty, scene, bundle):
    result = faulty.runtime("delete", "--force", bundle.id)
    said = [] if (result.code, result.err) == (0, "") else [repr(result)]
    return said + scene.left_at_last()


@pytest.mark.parametrize("fault", ["fail:before", "kill:before"])
def test_start_that_stops_in_the_middle_leaves_a_container_that_can_be_deleted(
    faulty, bundle, fault
):
    made(faulty, bundle)
    scene = Scene(faulty.runtime, bundle)
    found = []

    def start(words):
        create(faulty, bundle)
        return faulty(words, "start", bundle.id)

    for _, outcome in faulty.walk(f"{fault}:file:open,unlink,write,pidfd_open", start):
        wrong = misreported(outcome) if outcome.code not in {KILLED, 0} else []
        if "poststart" in outcome.result.err:
            # runtime.md, lifecycle 9: it is undone, all of it.
            right = faulty.runtime("state", bundle.id).code == 1
        else:
            right = status_of(faulty, bundle) in {"created", "running", "stopped"}
        if outcome.code == 0 or not right:
            wrong.append("no error, or a status that is none")
        wrong += deleted(faulty, scene, bundle)
        if wrong:
            found.append(f"{outcome}: {wrong}")
    found += deleted(faulty, scene, bundle)

    assert found == [], "\n".join(found)


# From the connection on init may have started, or ends because nobody tells it to go.
@pytest.mark.parametrize(
    ("place", "statuses"),
    [
        ("before:call:lifecycle.start._connect:1", {"created"}),
        ("after:call:lifecycle.start._connect:1", {"created", "stopped"}),
        ("before:call:lifecycle.start.read_to_end:1", {"running"}),
        ("after:call:lifecycle.start.read_to_end:1", {"running"}),
        ("before:call:hooks.run:1", {"running"}),
    ],
)
@pytest.mark.parametrize("do", ["fail", "kill"])
def test_the_state_is_true_after_a_start_that_stopped_in_the_middle(
    faulty, bundle, do, place, statuses
):
    made(faulty, bundle)
    del bundle.config["hooks"]["startContainer"]
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    create(faulty, bundle)
    outcome = faulty(f"{do}:{place}", "start", bundle.id)

    assert outcome.struck == 1
    assert outcome.code == (KILLED if do == "kill" else 1)
    if (do, place) == ("fail", "before:call:hooks.run:1"):
        # runtime.md, lifecycle 9: a poststart hook that fails ends the container.
        assert faulty.runtime("state", bundle.id).code == 1
    else:
        assert status_of(faulty, bundle) in statuses
    assert [] == deleted(faulty, scene, bundle)


@pytest.fixture
def running(faulty, bundle):
    made(faulty, bundle)
    create(faulty, bundle)
    faulty.runtime("start", bundle.id).ok()
    return bundle


def execute(faulty, bundle, *flags):
    words = ["exec", "--detach", "--pid-file", f"{bundle.path}/exec-pid", *flags, bundle.id, "true"]
    return lambda fault: faulty(fault, *words)


def wrong_after_exec(faulty, scene, bundle):
    if os.path.exists(f"{bundle.path}/exec-pid"):
        os.unlink(f"{bundle.path}/exec-pid")
    left = scene.left_at_last()
    return left + ([] if status_of(faulty, bundle) == "running" else ["the container has ended"])


@pytest.mark.parametrize("kind", ["step:", f"file:{FALLIBLE}"])
def test_a_failing_exec_leaves_nothing_in_the_container(faulty, running, kind):
    scene = Scene(faulty.runtime, running)
    found = []
    for _, outcome in faulty.walk(f"fail:before:{kind}", execute(faulty, running)):
        if outcome.code == 0:
            # One that may fail: a file that need not be there.
            found += wrong_after_exec(faulty, scene, running)
            continue
        wrong = misreported(outcome, code=255) + scene.left()
        if kind == "step:" and "(step " not in outcome.result.err:
            wrong.append("does not name the step")
        if wrong:
            found.append(f"{outcome}: {wrong}")
            scene.left_at_last()
    found += wrong_after_exec(faulty, scene, running)

    assert found == [], "\n".join(found)


@pytest.mark.parametrize("kind", ["step:", f"file:{CHANGING}"])
def test_no_process_outlives_a_killed_exec_before_it_runs(faulty, running, kind):
    scene = Scene(faulty.runtime, running)
    found = []
    for _, outcome in faulty.walk(f"kill:before:{kind}", execute(faulty, running)):
        wrong = wrong_after_exec(faulty, scene, running)
        wrong = [one for one in wrong if f"file {running.path}/.exec-pid" not in one]
        if outcome.code != KILLED or wrong:
            found.append(f"{outcome}: {wrong}")

    assert found == [], "\n".join(found)


@pytest.mark.parametrize("name", ["lifecycle.attempt.let_go", "lifecycle.attempt.write_pid_file"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exec_that_fails_late_leaves_no_process(faulty, running, name, when):
    scene = Scene(faulty.runtime, running)
    words = [
        "exec",
        "--detach",
        "--pid-file",
        f"{running.path}/exec-pid",
        running.id,
        "sleep",
        "1000",
    ]
    outcome = faulty(f"fail:{when}:call:{name}:1", *words)

    assert [] == misreported(outcome, code=255)
    assert [] == [one for one in scene.left() if one.startswith("process")]


@pytest.mark.parametrize("fault", ["fail:before", "kill:before"])
def test_delete_that_stops_in_the_middle_can_be_repeated(faulty, bundle, fault):
    made(faulty, bundle)
    scene = Scene(faulty.runtime, bundle)
    found = []

    def delete(words):
        create(faulty, bundle)
        faulty.runtime("start", bundle.id).ok()
        return faulty(words, "delete", "--force", bundle.id)

    for _, outcome in faulty.walk(f"{fault}:file:unlink,rmdir", delete):
        wrong = [] if outcome.code == KILLED else misreported(outcome)
        wrong += deleted(faulty, scene, bundle)
        if wrong:
            found.append(f"{outcome}: {wrong}")
    found += scene.left_at_last()

    assert found == [], "\n".join(found)


RUN = [
    "lifecycle.run.start",
    "lifecycle.start._connect",
    "lifecycle.start.read_to_end",
    "hooks.run",
]


@pytest.mark.parametrize("name", RUN)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("flags", [(), ("--detach",)])
def test_a_failing_run_leaves_nothing(faulty, bundle, name, when, flags):
    made(faulty, bundle)
    scene = Scene(faulty.runtime, bundle)
    outcome = faulty(
        f"fail:{when}:call:{name}:1", "run", *flags, "--bundle", bundle.path, bundle.id
    )

    assert outcome.struck == 1
    assert [] == misreported(outcome)
    assert [] == scene.left_at_last()


def test_a_run_whose_terminal_does_not_come_leaves_nothing(faulty, bundle):
    plans.with_terminal(bundle)
    bundle.script("exec sleep 1000").save()
    faulty.runtime.made.append(bundle.id)
    scene = Scene(faulty.runtime, bundle)
    outcome = faulty(
        "fail:before:call:console.Relay.receive:1", "run", "--bundle", bundle.path, bundle.id
    )

    assert [] == misreported(outcome)
    assert [] == scene.left_at_last()


def test_undoing_that_fails_does_not_hide_the_first_error(faulty, bundle):
    made(faulty, bundle)
    scene = Scene(faulty.runtime, bundle)
    calls = ("lifecycle.attempt.write_pid_file", "lifecycle.create.remove_cgroups")
    faults = "+".join([f"fail:before:call:{name}:1" for name in calls])
    outcome = faulty(
        faults, "create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid", bundle.id
    )
    place = f"{faulty.runtime.root}/{bundle.id}"

    assert outcome.struck == 2
    said = f"cannot create: fault: EIO; and could not remove {place}: fault: EIO"

    assert f"aisbx-runtime: create: {said}\n" == outcome.result.err
    assert [] == misreported(outcome)
    assert status_of(faulty, bundle) == "stopped"
    assert [] == deleted(faulty, scene, bundle)


def test_what_hooks_leave_running_goes_with_a_failed_create(faulty, bundle):
    # Without a pid namespace of its own the death of init takes nobody along.
    plans.minimal(bundle)
    bundle.without_namespace("pid")
    bundle.hook("createContainer", plans.HOOK_SHELL, "-c", "sleep 1000 >/dev/null 2>&1 &").save()
    scene = Scene(faulty.runtime, bundle)
    outcome = faulty(
        "fail:before:call:channel.CreateSide.wait_for_stub:1",
        "create",
        "--bundle",
        bundle.path,
        bundle.id,
    )
    faulty.runtime.made.append(bundle.id)
    leaks.reap(scene.spared)

    assert [] == misreported(outcome)
    assert [] == scene.left_at_last()
