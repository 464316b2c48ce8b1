"""create is SIGKILLed: `delete --force` leaves nothing; until then every verb tells the truth."""

from __future__ import annotations

import json

import pytest

from integration import leaks
from integration.faults import plans
from integration.faults.faulty import CHANGING, KILLED, Scene
from integration.mount_namespace import MountNamespace


def create(faulty, bundle):
    words = ["create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid", bundle.id]
    return lambda fault: faulty(fault, *words)


def deleted(faulty, scene, bundle):
    """Delete by force; return what is wrong or left then. The pid file is the caller's."""
    result = faulty.runtime("delete", "--force", bundle.id)
    left = [one for one in scene.left_at_last() if one != f"file {bundle.path}/pid"]
    said = [] if (result.code, result.out, result.err) == (0, "", "") else [repr(result)]
    return said + left


def wrongs_of_every_kill(faulty, bundle, fault):
    """Kill create at every place; the next create, under the same id, is the proof of the last."""
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    faulty.runtime.made.append(bundle.id)
    found = []
    for _, outcome in faulty.walk(fault, create(faulty, bundle)):
        wrong = [] if outcome.code == KILLED else ["not killed"]
        wrong += deleted(faulty, scene, bundle)
        if wrong:
            found.append(f"{outcome}: {wrong}")
    return found + deleted(faulty, scene, bundle)


@pytest.mark.parametrize("name", ["podman", "hooks"])
def test_after_a_kill_before_any_step_delete_leaves_nothing(faulty, bundle, name):
    plans.PLAIN[name](bundle)
    found = wrongs_of_every_kill(faulty, bundle, "kill:before:step:")

    assert found == [], "\n".join(found)


def test_after_a_kill_before_any_step_with_joined_namespaces_delete_leaves_nothing(
    faulty, bundle, other
):
    plans.joining_a_user(bundle, other)
    found = wrongs_of_every_kill(faulty, bundle, "kill:before:step:")

    assert found == [], "\n".join(found)


def test_after_a_kill_before_any_step_delete_leaves_a_joined_mount_namespace_as_it_was(
    faulty, bundle
):
    with MountNamespace() as joined:
        plans.joining_mounts(bundle, joined.path)
        bundle.save()
        scene = Scene(faulty.runtime, bundle)
        faulty.runtime.made.append(bundle.id)
        before, found = joined.mounts(), []
        for _, outcome in faulty.walk("kill:before:step:", create(faulty, bundle)):
            wrong = deleted(faulty, scene, bundle)
            if wrong or outcome.code != KILLED or joined.mounts() != before:
                found.append(f"{outcome}: {wrong}")
        faulty.runtime("delete", "--force", bundle.id).ok()

    assert found == [], "\n".join(found)


def test_after_a_kill_before_any_change_of_a_file_delete_leaves_nothing(faulty, bundle):
    plans.hooked(bundle)
    bundle.config["linux"]["cgroupsPath"] = f"/{bundle.id}/inner"
    found = wrongs_of_every_kill(faulty, bundle, f"kill:before:file:{CHANGING}")

    assert found == [], "\n".join(found)


@pytest.mark.parametrize("place", ["birth.join", "channel.InitSide.born"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_kill_in_the_intermediate_process_delete_leaves_nothing(
    faulty, bundle, other, place, when
):
    plans.joining_a_user(bundle, other)
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    outcome = create(faulty, bundle)(f"kill:{when}:call:{place}:1")
    faulty.runtime.made.append(bundle.id)

    assert (KILLED, "", 1) == (outcome.code, outcome.result.err, outcome.struck)
    assert [] == deleted(faulty, scene, bundle)


def test_no_half_made_init_outlives_the_runtime(faulty, bundle):
    # The signal of the parent's death is cleared when ids change: prctl(2). Here they have.
    plans.podman_like(bundle)
    bundle.config["hooks"] = {}
    bundle.hook("createContainer", plans.HOOK_SHELL, "-c", "exec sleep 1000")
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    outcome = create(faulty, bundle)("kill:before:call:hooks.run:1")
    faulty.runtime.made.append(bundle.id)

    assert KILLED == outcome.code
    assert [] == [one for one in scene.left_at_last() if one.startswith("process")]


# Where create is killed, and what is true of the container from then on.
HALF_MADE = [
    ("after:call:container.reserve:1", "stopped"),
    ("after:call:container.Container.replace:1", "stopped"),
    ("after:call:container.Container.save:1", "stopped"),
    ("after:call:lifecycle.create._listen:1", "stopped"),
    ("after:call:birth.give_birth:1", "stopped"),
    ("after:call:container.Container.save:2", "stopped"),
    ("after:call:channel.CreateSide.go:1", "stopped"),
    ("before:call:channel.InitSide.prepared:1", "stopped"),
    ("before:call:hooks.run:1", "stopped"),
    ("after:call:hooks.run:2", "stopped"),
    ("before:call:channel.InitSide.ready:1", "stopped"),
    # From here on init waits for a `start` that nobody may give.
    ("after:call:channel.CreateSide.expect:2", "creating"),
    ("before:call:container.Container.save:3", "creating"),
    ("after:call:container.Container.save:3", "created"),
    ("before:call:lifecycle.attempt.write_pid_file:1", "created"),
    ("after:call:lifecycle.attempt.write_pid_file:1", "created"),
]


def wait_for_truth(scene, status):
    """Wait until init has ended, where its end is the truth; return whether anything runs."""
    if status == "stopped":
        leaks.wait_for_end(scene.spared)
    return [one for one in scene.left() if one.startswith("process")] != []


@pytest.mark.parametrize(("place", "status"), HALF_MADE)
def test_the_verbs_tell_the_truth_about_what_a_killed_create_left(faulty, bundle, place, status):
    plans.hooked(bundle)
    for kind in ("startContainer", "poststart", "poststop"):
        del bundle.config["hooks"][kind]
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    outcome = create(faulty, bundle)(f"kill:{place}")
    faulty.runtime.made.append(bundle.id)
    runtime = faulty.runtime
    state = json.loads(runtime("state", bundle.id).ok().out)
    alive = wait_for_truth(scene, status)
    again = json.loads(runtime("state", bundle.id).ok().out)
    listed = json.loads(runtime("list", "--format", "json").ok().out)
    said = {
        "create": create(faulty, bundle)("none").result.err,
        "exec": runtime("exec", bundle.id, "true").err if status != "created" else "",
        "start": runtime("start", bundle.id).err if status != "created" else "",
        "kill": runtime("kill", bundle.id, "KILL").err,
    }

    assert (KILLED, 1) == (outcome.code, outcome.struck), outcome
    assert alive == (status != "stopped")
    assert (bundle.id, status) == (state["id"], state["status"])
    assert again == state
    assert alive == (state["pid"] > 0)
    assert [(bundle.id, status)] == [(one["id"], one["status"]) for one in listed]
    prefix = "aisbx-runtime:"
    assert said == {
        "create": f"{prefix} create: container with given ID already exists: {bundle.id}\n",
        "exec": ""
        if status == "created"
        else f"{prefix} exec: cannot exec in a {status} container\n",
        "start": ""
        if status == "created"
        else f"{prefix} start: cannot start container {bundle.id} that is {status}\n",
        "kill": "" if alive else f"{prefix} kill: container not running: {bundle.id}\n",
    }
    assert [] == deleted(faulty, scene, bundle)
    assert create(faulty, bundle)("none").code == 0
    assert [] == deleted(faulty, scene, bundle)


def test_a_container_whose_create_was_killed_at_the_pid_file_can_be_started(faulty, bundle):
    bundle.script("exit 3").save()
    create(faulty, bundle)("kill:before:call:lifecycle.attempt.write_pid_file:1")
    faulty.runtime.made.append(bundle.id)

    assert faulty.runtime("start", bundle.id).code == 0


def test_a_half_made_container_is_deleted_without_force_too(faulty, bundle):
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    create(faulty, bundle)("kill:before:call:container.Container.save:3")
    faulty.runtime("delete", bundle.id).ok()

    assert [] == scene.left_at_last()
