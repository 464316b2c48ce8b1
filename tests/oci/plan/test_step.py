"""What a plan is made of."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.plan.hooks import RunHooks, steps
from aisbx_runtime.oci.plan.join import EnterContainer
from aisbx_runtime.oci.plan.step import Birth, Phase, Plan, World
from aisbx_runtime.oci.spec.model import Hook


def birth(**changes) -> Birth:
    fields = {"new": (), "joins": (), "intermediate": False, "time_offsets": (), **changes}
    return Birth(**fields)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (birth(), "start container init in new namespaces: none"),
        (birth(new=("pid", "mount")), "start container init in new namespaces: pid, mount"),
        (
            birth(new=("pid",), joins=("user", "network")),
            "start container init in new namespaces: pid; join user, network",
        ),
    ],
)
def test_a_birth_tells_which_namespaces(made, said):
    assert said == made.describe()


def test_a_birth_is_not_carried_out_by_itself():
    with pytest.raises(NotImplementedError):
        birth().apply(World("one", "/bundle"))


def test_a_plan_numbers_its_steps():
    first, second = EnterContainer(0, False, ""), EnterContainer(1, False, "")
    phases = (Phase("a", "s", (first,)), Phase("b", "s", ()), Phase("c", "s", (second,)))
    plan = Plan(phases, (), ())

    assert [(1, phases[0], first), (2, phases[2], second)] == plan.numbered()
    assert () == plan.phase("b")


def test_a_plan_with_a_birth_has_it_at_hand():
    plan = Plan((Phase("birth", "s", (birth(),)),), (), ())

    assert birth() == plan.birth
    with pytest.raises(KeyError):
        Plan((), (), ()).birth  # noqa: B018


def test_a_world_starts_with_nothing_open():
    at = World("one", "/bundle")

    assert {-1} == {at.pidfd, at.cgroup_fd, at.filter_fd, at.console_fd, at.root_fd, at.proc_fd}
    assert ({}, {}, {}) == (at.namespace_fds, at.trees, at.masks)


@pytest.mark.parametrize(
    "act",
    [
        lambda at: at.own("cgroup", "/x"),
        lambda at: at.run_hooks("prestart", ()),
        lambda at: at.send_terminal(0, "x"),
    ],
)
def test_a_world_leaves_the_outside_to_create_and_exec(act):
    with pytest.raises(NotImplementedError):
        act(World("one", "/bundle"))


class HookWorld(World):
    def run_hooks(self, kind, hooks, confine=None):
        self.ran = (kind, hooks, confine)


def test_hooks_are_one_step_that_the_world_carries_out():
    hooks = (Hook("/a"), Hook("/b"))
    (step,) = steps("prestart", hooks)
    at = HookWorld("one", "/bundle")
    step.apply(at)

    assert RunHooks("prestart", hooks, "hooks.prestart") == step
    assert "run prestart hooks: /a, /b" == step.describe()
    assert ("prestart", hooks, None) == at.ran


def test_without_hooks_there_is_no_step():
    assert [] == steps("prestart", ())


def test_entering_is_told():
    step = EnterContainer(0, False, "")

    assert "enter the namespaces and the root of container init" == step.describe()
