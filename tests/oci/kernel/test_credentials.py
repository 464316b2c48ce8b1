"""Capability sets of a process, read back from /proc."""

from __future__ import annotations

import errno

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import credentials
from tests.oci.forked import forked

pytestmark = pytest.mark.root
CHOWN, KILL, SYSLOG = 1 << 0, 1 << 5, 1 << 34


def sets() -> dict[str, int]:
    with open("/proc/self/status") as lines:
        words = [line.split() for line in lines if line.startswith("Cap")]
    return {name[3:-1]: int(value, 16) for name, value in words}


@forked
def test_three_sets_are_what_was_asked_for_in_both_halves_of_the_mask():
    credentials.capset(KILL, KILL | SYSLOG, SYSLOG)

    assert (KILL, KILL | SYSLOG, SYSLOG) == tuple(sets()[name] for name in ("Eff", "Prm", "Inh"))


@forked
def test_the_permitted_set_is_read_whole():
    credentials.capset(KILL, KILL | SYSLOG, 0)

    assert KILL | SYSLOG == credentials.permitted_set()


@forked
def test_what_is_given_up_cannot_be_had_again():
    credentials.capset(KILL, KILL, 0)
    with pytest.raises(KernelError) as caught:
        credentials.capset(KILL, KILL | CHOWN, 0)

    assert ("capset", errno.EPERM) == (caught.value.syscall, caught.value.errno)


@forked
def test_a_capability_leaves_the_bounding_set():
    before = sets()["Bnd"]
    credentials.drop_from_bounding_set(5)

    assert before & ~KILL == sets()["Bnd"]


@forked
def test_ambient_is_exactly_what_was_asked_for():
    credentials.capset(KILL | SYSLOG, KILL | SYSLOG, KILL | SYSLOG)
    credentials.set_ambient(KILL | SYSLOG)
    credentials.set_ambient(SYSLOG)

    assert SYSLOG == sets()["Amb"]


@forked
def test_ambient_beyond_permitted_is_refused():
    credentials.capset(KILL, KILL, KILL)
    with pytest.raises(KernelError) as caught:
        credentials.set_ambient(CHOWN)

    assert ("prctl", errno.EPERM) == (caught.value.syscall, caught.value.errno)
