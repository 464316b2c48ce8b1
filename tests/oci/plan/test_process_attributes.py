"""Scheduler, I/O priority, affinity, personality and memory policy: from names to steps."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.lifecycle import exec as exec_verb
from aisbx_runtime.oci.plan import memory_policy, personality, process, scheduling
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.spec import parse_linux, parse_process
from aisbx_runtime.oci.spec.model import (
    Cpu,
    CpuAffinity,
    IoPriority,
    Linux,
    MemoryPolicy,
    Personality,
    Process,
    Resources,
    Root,
    Scheduler,
    Spec,
)
from tests import hosts

BATCH = Scheduler("SCHED_BATCH", nice=5, flags=("SCHED_FLAG_RESET_ON_FORK",))
EVERYTHING = Process(("true",), "/", scheduler=BATCH, io_priority=IoPriority("IOPRIO_CLASS_BE", 2))
LINUX = Linux(
    personality=Personality("LINUX32"),
    memory_policy=MemoryPolicy("MPOL_BIND", "0-1,3"),
    resources=Resources(cpu=Cpu(cpus="0", mems="0-3", shares=1024)),
)


def test_they_are_set_in_this_order_before_the_limits():
    steps = process.steps(EVERYTHING, LINUX, hosts.UNIFIED, filter_flags=None, set_groups=True)

    assert [
        "schedule by SCHED_BATCH, nice 5, SCHED_FLAG_RESET_ON_FORK",
        "set the I/O priority to IOPRIO_CLASS_BE 2",
        "set the personality to LINUX32",
        "set the memory policy to MPOL_BIND, nodes 0-1,3",
    ] == [one.describe() for one in steps[:4]]
    assert [
        "process.scheduler", "process.ioPriority", "linux.personality", "linux.memoryPolicy",
    ] == [one.origin for one in steps[:4]]  # fmt: skip


def test_what_is_not_asked_for_is_not_set():
    assert [] == scheduling.steps(Process(("true",), "/"))


def test_every_name_that_the_parser_takes_has_its_number():
    assert parse_process.SCHEDULER_POLICIES == set(scheduling.POLICIES)
    assert parse_process.SCHEDULER_FLAGS == set(scheduling.FLAGS)
    assert parse_process.IO_PRIORITY_CLASSES == set(scheduling.IO_CLASSES)
    assert parse_linux.MEMORY_POLICY_MODES == set(memory_policy.MODES)
    assert parse_linux.MEMORY_POLICY_FLAGS == set(memory_policy.FLAGS)


# ---- affinity ------------------------------------------------------------------------------------
def described(affinity: CpuAffinity | None) -> tuple[list[str], list[str]]:
    first, last = scheduling.affinity_steps(Process(("x",), "/", exec_cpu_affinity=affinity))
    return [one.describe() for one in first], [one.describe() for one in last]


def test_initial_is_set_before_the_birth_and_final_at_the_end():
    assert (
        ["run on CPUs 0-3 until the process is in the container's cgroup"],
        ["let the process run on CPUs 7"],
    ) == described(CpuAffinity("0-3", "7"))


def test_without_final_nothing_is_changed_at_the_end():
    # config.md: the runtime SHOULD NOT change it.
    assert [] == described(CpuAffinity("0"))[1]


def test_without_any_the_mask_of_the_caller_is_forgotten():
    assert ([], ["let the process run on every CPU of the container"]) == described(None)


def test_a_caller_that_may_run_anywhere_has_no_mask_to_forget(monkeypatch):
    monkeypatch.setattr(exec_verb.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(exec_verb.os, "cpu_count", lambda: 2)

    assert ([], []) == exec_verb._affinity(Process(("x",), "/"))


# ---- personality ---------------------------------------------------------------------------------
def test_a_flag_of_the_personality_is_refused():
    with pytest.raises(SpecError, match=r"^linux\.personality\.flags\[0\]: "):
        personality.steps(Personality("LINUX", ("x",)))


# ---- memory policy -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mode", "nodes"),
    [
        ("MPOL_BIND", ""),
        ("MPOL_INTERLEAVE", " "),
        ("MPOL_PREFERRED_MANY", ""),
        ("MPOL_LOCAL", "0"),
        ("MPOL_DEFAULT", "0"),
        ("MPOL_BIND", "x"),
        ("MPOL_BIND", "2-1"),
    ],
)
def test_nodes_that_do_not_fit_the_mode_are_refused(mode, nodes):
    with pytest.raises(SpecError, match=r"^linux\.memoryPolicy\.nodes: "):
        memory_policy.steps(MemoryPolicy(mode, nodes))


def test_preferred_may_be_anywhere():
    assert 1 == len(memory_policy.steps(MemoryPolicy("MPOL_PREFERRED")))


@pytest.mark.parametrize("name", ["unified", "hybrid"])
def test_the_memory_nodes_of_the_cgroup_are_written_before_the_policy(name):
    # mm/mempolicy.c: nodes of a policy are renumbered when those of its cpuset change.
    spec = Spec("1.2.1", Root("rootfs"), process=EVERYTHING, linux=LINUX)
    plan = build(spec, hosts.ALL[name], "one", "/bundle", Options("/cache"))
    order = [
        step.origin
        for _, _, step in plan.numbered()
        if step.origin in {"linux.resources.cpu.mems", "linux.memoryPolicy"}
    ]

    assert ["linux.resources.cpu.mems", "linux.memoryPolicy"] == order
