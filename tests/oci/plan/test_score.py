"""oom_score_adj, written from outside."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.plan import score
from aisbx_runtime.oci.plan.score import SetOomScoreAdj
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.spec.model import Process
from tests import hosts
from tests.oci.forked import forked

PROCESS = Process(("true",), "/", oom_score_adj=7)


def own_world(pid=None) -> World:
    at = World("one", "/bundle")
    at.pid = pid or os.getpid()
    return at


def own_score() -> str:
    with open("/proc/self/oom_score_adj") as file:
        return file.read().strip()


def test_nothing_is_set_unless_asked_for():
    assert [] == score.steps(Process(("true",), "/"), hosts.UNIFIED)


def test_zero_is_a_score():
    assert 1 == len(score.steps(Process(("true",), "/", oom_score_adj=0), hosts.UNIFIED))


@pytest.mark.parametrize(
    ("name", "best_effort"), [("unified", False), ("user", True), ("rootless", True)]
)
def test_without_privilege_it_is_best_effort(name, best_effort):
    (step,) = score.steps(PROCESS, hosts.ALL[name])

    assert SetOomScoreAdj(7, best_effort, "process.oomScoreAdj") == step
    assert best_effort is ("best effort" in step.describe())


@pytest.mark.root
@forked
def test_it_is_set():
    SetOomScoreAdj(900, best_effort=False, origin="").apply(own_world())

    assert "900" == own_score()


def lower(*, best_effort: bool) -> None:
    SetOomScoreAdj(500, best_effort=False, origin="").apply(own_world())
    os.setresuid(65534, 65534, 65534)
    SetOomScoreAdj(-1000, best_effort=best_effort, origin="").apply(own_world())


@pytest.mark.root
@forked
def test_lowering_without_privilege_is_an_error():
    with pytest.raises(KernelError) as caught:
        lower(best_effort=False)

    assert caught.value.errno in {errno.EACCES, errno.EPERM}
    assert f"/proc/{os.getpid()}/oom_score_adj" == caught.value.filename


@pytest.mark.root
@forked
def test_or_is_let_be_where_it_is_best_effort():
    lower(best_effort=True)

    assert "500" == own_score()


@pytest.mark.root
@forked
def test_best_effort_excuses_no_other_error():
    with pytest.raises(KernelError) as caught:
        SetOomScoreAdj(5000, best_effort=True, origin="").apply(own_world())

    assert errno.EINVAL == caught.value.errno
