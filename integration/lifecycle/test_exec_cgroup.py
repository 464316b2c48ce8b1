"""`exec --cgroup`: a process below the container's cgroup; exec where none can be beside others."""

from __future__ import annotations

import os

import pytest

from integration import host, needs
from integration.differences import known_of_runc
from integration.leaks import cgroups


def places(text):
    """Return the cgroups in the text of /proc/PID/cgroup: controllers -> path."""
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in text.split()}


@pytest.fixture
def container(runtime, bundle):
    bundle.without_namespace("cgroup")
    return runtime.started(bundle)


@pytest.fixture
def sub(container):
    """A cgroup below each of the container's."""
    made = [f"{path}/sub" for path in cgroups() if os.path.basename(path) == container.id]
    for path in made:
        os.mkdir(path)
    if not made:
        pytest.skip(host.lacks_cgroups())
    cpuset = host.hierarchies().get("cpuset")
    if cpuset and cpuset != host.hierarchies().get(""):
        for name in ("cpuset.cpus", "cpuset.mems"):
            with open(f"{cpuset}/{container.id}/sub/{name}", "w") as file:
                file.write(host.text_of(f"{cpuset}/{container.id}/{name}"))
    return "sub"


def seen(container, *flags):
    return places(container.exec("cat", "/proc/self/cgroup", flags=flags).ok().out)


def test_a_path_alone_is_meant_in_every_hierarchy(container, sub):
    found = seen(container, "--cgroup", sub)
    inside = [path for path in found.values() if path.endswith(f"{container.id}/sub")]
    outside = [path for path in found.values() if path.endswith(container.id)]

    assert inside
    # runc leaves the unified hierarchy of a hybrid host alone.
    assert outside in ([], [found.get("")])


@needs.hierarchies_of_v1
def test_the_unified_hierarchy_beside_v1_may_lack_the_path(runtime, container, sub):
    unified = host.hierarchies().get("")
    if unified:
        os.rmdir(f"{unified}/{container.id}/{sub}")
    result = container.exec("cat", "/proc/self/cgroup", flags=("--cgroup", sub))
    known_of_runc(runtime, "1.1 wants it there as well", seen=result.code != 0)
    found = places(result.ok().out)

    assert found[""].endswith(container.id)
    assert found["freezer"].endswith(f"{container.id}/{sub}")


@needs.hierarchies_of_v1
@needs.controllers("memory", "pids")
def test_controllers_may_have_paths_of_their_own(container, sub):
    found = seen(container, "--cgroup", f"memory:{sub}", "--cgroup", "pids:/")

    assert found["memory"].endswith(f"{container.id}/sub")
    assert found["pids"].endswith(container.id)


@pytest.mark.parametrize(
    "flags",
    [
        ("--cgroup", "nowhere"),
        ("--cgroup", "nothing:sub"),
        ("--cgroup", "a", "--cgroup", "b"),
        ("--cgroup", "memory:sub", "--cgroup", "memory:sub"),
        ("--cgroup", "../.."),
    ],
)
def test_what_is_not_there_is_refused(runtime, container, sub, flags):
    result = container.exec("true", flags=flags)
    known_of_runc(runtime, "1.1 takes a controller named twice", seen=result.code == 0)

    assert result.code != 0


def test_exec_works_where_the_container_has_given_controllers_to_its_children(runtime, container):
    # cgroups(7): no process can be added beside children that have controllers.
    top = f"{host.hierarchies().get('', '')}{container.bundle.cgroup}"
    if not os.path.exists(f"{top}/cgroup.procs"):
        pytest.skip("the container has no cgroup v2")
    controllers = host.text_of(f"{top}/cgroup.controllers").split()
    if not controllers:
        pytest.skip("the container's cgroup v2 has no controller to give on")
    os.mkdir(f"{top}/init.scope")
    with open(f"{top}/init.scope/cgroup.procs", "w") as file:
        file.write(str(container.pid))
    with open(f"{top}/cgroup.subtree_control", "w") as file:
        file.write(f"+{controllers[0]}")
    result = container.exec("cat", "/proc/self/cgroup")
    known_of_runc(runtime, "1.1 only falls back without v1", seen=result.code == 255)

    assert places(result.ok().out)[""].endswith(f"{container.id}/init.scope")
