"""`exec --cgroup`: which cgroups it names; where processes end up is told by integration."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.host import Hierarchy
from aisbx_runtime.oci.lifecycle import exec_cgroup
from tests.oci.plan.test_cgroup import host


@pytest.fixture
def machine(tmp_path):
    """A hybrid host, and a container's cgroups on it with `sub` below each."""
    paths = []
    found = []
    for name in ("unified", "memory", "pids"):
        place = f"{tmp_path}/{name}"
        (tmp_path / name / "c" / "sub").mkdir(parents=True)
        paths.append(f"{place}/c")
        one = (2, ()) if name == "unified" else (1, (name,))
        found.append(Hierarchy(*one, place, "/", "/"))
    return host(*found), tuple(paths)


def below(machine, *words):
    at, paths = machine
    names = {path: path.split("/")[-2] for path in paths}
    found = exec_cgroup.below(list(words), paths, at)
    return {names[p]: f.removeprefix(p) for p, f in zip(paths, found, strict=True)}


def test_a_path_alone_is_meant_everywhere(machine):
    assert {"unified": "/sub", "memory": "/sub", "pids": "/sub"} == below(machine, "/sub/")


def test_a_controller_may_have_a_path_of_its_own(machine):
    assert {"unified": "", "memory": "/sub", "pids": ""} == below(machine, "memory:sub", "pids:/")


def test_controllers_may_share_a_path(machine):
    assert {"unified": "", "memory": "/sub", "pids": "/sub"} == below(machine, "memory,pids:sub")


@pytest.mark.parametrize(
    "words",
    [("none",), ("cpu:sub",), ("sub", "memory:sub"), ("memory:sub", "memory:sub"), ("a/../..",)],
)
def test_what_cannot_be_is_refused(machine, words):
    with pytest.raises(UsageError):
        below(machine, *words)
