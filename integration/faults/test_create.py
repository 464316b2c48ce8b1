"""create: whatever step fails, nothing is left behind, and the report names the step."""

from __future__ import annotations

import json

import pytest

from integration.faults import plans
from integration.faults.faulty import FALLIBLE, Scene
from integration.mount_namespace import MountNamespace


def step_places(runtime, bundle, flags=()):
    """Return `(step N of M PHASE, ORIGIN)` of every step, as errors name it."""
    steps = json.loads(runtime("plan", "--format", "json", *flags, bundle.path).ok().out)["steps"]
    return [
        f"(step {one['number']} of {len(steps)} {one['phase']}, {one['origin']})" for one in steps
    ]


def create(faulty, bundle, *flags):
    words = [
        "create",
        "--bundle",
        bundle.path,
        "--pid-file",
        f"{bundle.path}/pid",
        *flags,
        bundle.id,
    ]
    return lambda fault: faulty(fault, *words)


def wrongs_of_every_step(faulty, bundle, *flags, after=lambda: None):
    """Fail each step in turn; return what was wrong, and check that none was left out."""
    bundle.save()
    places = step_places(faulty.runtime, bundle)
    scene = Scene(faulty.runtime, bundle)
    faulty.runtime.made.append(bundle.id)
    found, number = [], 0
    for number, outcome in faulty.walk("fail:before:step:", create(faulty, bundle, *flags)):
        after()
        found += scene.wrong_after(outcome)
        if number <= len(places) and not outcome.result.err.endswith(
            f": fault: EIO {places[number - 1]}\n"
        ):
            found.append(f"{outcome}: does not name {places[number - 1]}")
    faulty.runtime("delete", "--force", bundle.id).ok()
    after()

    assert number == len(places)
    return found


@pytest.fixture(params=list(plans.PLAIN))
def planned(request, bundle, faulty):
    if "seccomp" in request.param and not plans.can_filter(faulty.interpreter[0]):
        pytest.skip("no binding of libseccomp: apt-get install python3-seccomp")
    plans.PLAIN[request.param](bundle)
    return bundle


def test_a_failing_step_leaves_nothing_and_is_named(faulty, planned):
    found = wrongs_of_every_step(faulty, planned)

    assert found == [], "\n".join(found)


def test_a_failing_step_with_a_terminal_leaves_nothing_and_is_named(faulty, bundle):
    plans.with_terminal(bundle)
    console = plans.Console(f"{bundle.path}/console")
    try:
        found = wrongs_of_every_step(
            faulty, bundle, "--console-socket", console.path, after=console.drop
        )
    finally:
        console.close()

    assert found == [], "\n".join(found)


@pytest.mark.parametrize("name", plans.JOINS)
def test_a_failing_step_with_joined_namespaces_leaves_nothing_and_is_named(
    faulty, bundle, other, name
):
    plans.JOINS[name](bundle, other)

    found = wrongs_of_every_step(faulty, bundle)

    assert found == [], "\n".join(found)


def test_a_failing_step_leaves_a_joined_mount_namespace_as_it_was(faulty, bundle):
    with MountNamespace() as joined:
        plans.joining_mounts(bundle, joined.path)
        seen = [joined.mounts()]
        found = wrongs_of_every_step(faulty, bundle, after=lambda: seen.append(joined.mounts()))

    # The last look is at the mounts of a container that was made.
    assert [] == [number for number, mounts in enumerate(seen[:-1]) if mounts != seen[0]]
    assert found == [], "\n".join(found)


# Between the steps: (the function, which call of it), with the fault before and after it.
BETWEEN = [
    ("container.Container.lock", 1),
    ("container.Container.replace", 1),
    ("container.Container.save", 1),
    ("container.Container.save", 2),
    ("container.Container.save", 3),
    ("lifecycle.create._job", 1),
    ("lifecycle.attempt.stub_file", 1),
    ("birth.give_birth", 1),
    ("kernel.signal.start_time_of", 1),
    ("channel.CreateSide.go", 1),
    ("channel.CreateSide.expect", 1),
    ("channel.CreateSide.expect", 2),
    ("channel.CreateSide.wait_for_stub", 1),
    ("lifecycle.attempt.write_pid_file", 1),
    ("init._settle", 1),
    ("channel.InitSide.wait_for_go", 1),
    ("channel.InitSide.prepared", 1),
    ("init._become_stub", 1),
]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failure_between_the_phases_leaves_nothing(faulty, bundle, when):
    plans.limited(bundle)
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    faulty.runtime.made.append(bundle.id)
    found = []
    for name, call in BETWEEN:
        if name == "init._become_stub" and when == "after":
            continue  # nothing comes back from there
        if name == "lifecycle.attempt.write_pid_file" and when == "after":
            continue  # nothing is left to fail
        outcome = create(faulty, bundle)(f"fail:{when}:call:{name}:{call}")
        if outcome.struck != 1:
            found.append(f"{outcome}: struck {outcome.struck} times")
        found += scene.wrong_after(outcome)

    assert found == [], "\n".join(found)


def test_a_failing_file_operation_of_the_runtime_leaves_nothing(faulty, bundle):
    plans.hooked(bundle)
    bundle.save()
    scene = Scene(faulty.runtime, bundle)
    faulty.runtime.made.append(bundle.id)
    found = []
    for _, outcome in faulty.walk(f"fail:before:file:{FALLIBLE}", create(faulty, bundle)):
        if outcome.code == 0:
            # One that may fail: the root that is there already is made again.
            faulty.runtime("delete", "--force", bundle.id).ok()
            found += scene.left_at_last()
        else:
            found += scene.wrong_after(outcome)

    assert found == [], "\n".join(found)
