"""Scheduling calls, read back from the kernel by other ways than they were set."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import scheduling
from tests.oci.forked import forked

root = pytest.mark.root
BIND = 2
RR = 2


def set_policy(policy: int, *, nice: int = 0, priority: int = 0) -> None:
    scheduling.sched_setattr(
        policy,
        pid=0,
        flags=0,
        nice=nice,
        priority=priority,
        runtime_ns=0,
        deadline_ns=0,
        period_ns=0,
    )


@root
@forked
def test_policy_and_nice_are_set():
    set_policy(os.SCHED_BATCH, nice=3)

    assert (os.SCHED_BATCH, 3) == (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))


@root
@forked
def test_a_refusal_names_the_call():
    os.setresuid(65534, 65534, 65534)
    with pytest.raises(KernelError) as caught:
        set_policy(RR, priority=1)

    assert ("sched_setattr", errno.EPERM) == (caught.value.syscall, caught.value.errno)


@root
@forked
def test_a_level_without_a_class_is_refused():
    with pytest.raises(KernelError) as caught:
        scheduling.ioprio_set(7, 0)

    assert ("ioprio_set", errno.EINVAL) == (caught.value.syscall, caught.value.errno)


@root
@forked
def test_cpus_beyond_those_that_there_are_do_not_matter():
    own = os.sched_getaffinity(0)
    scheduling.sched_setaffinity(0, range(8192))

    assert own <= os.sched_getaffinity(0)


@root
@forked
def test_no_cpu_at_all_is_refused():
    with pytest.raises(KernelError) as caught:
        scheduling.sched_setaffinity(0, ())

    assert ("sched_setaffinity", errno.EINVAL) == (caught.value.syscall, caught.value.errno)


@root
@forked
def test_a_node_beyond_the_first_word_of_the_mask_is_asked_for():
    # A mask that lost it would be an empty one, or node 0.
    with pytest.raises(KernelError) as caught:
        scheduling.set_mempolicy(BIND, frozenset((64,)))

    assert ("set_mempolicy", errno.EINVAL) == (caught.value.syscall, caught.value.errno)


@root
@forked
def test_a_memory_policy_without_nodes_is_set():
    scheduling.set_mempolicy(0, frozenset())


@root
@forked
def test_the_personality_is_set():
    scheduling.personality(0x8)
    with open("/proc/self/personality") as file:
        assert "00000008\n" == file.read()
