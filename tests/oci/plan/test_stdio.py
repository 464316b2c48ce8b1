"""Pipes of a process are given to its user, by the id that it has outside."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.plan import stdio
from aisbx_runtime.oci.plan.stdio import GivePipes
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.spec.model import IdMapping
from tests.oci.forked import forked

root = pytest.mark.root
AT = World("one", "/bundle")
MAPPINGS = (IdMapping(0, 100000, 1000), IdMapping(1000, 7, 1))


@pytest.mark.parametrize(
    ("inside", "outside"), [(0, 100000), (999, 100999), (1000, 7), (1001, None), (2**32 - 2, None)]
)
def test_an_id_is_looked_up_in_the_map(inside, outside):
    assert outside == stdio.host_id_of(inside, MAPPINGS)


def test_a_map_of_proc_is_read():
    assert MAPPINGS == stdio.mappings_of("0 100000 1000\n  1000          7          1\n")
    assert () == stdio.mappings_of("")


def test_without_a_user_namespace_the_id_is_the_same():
    assert [GivePipes(5, "process.user.uid")] == stdio.steps(5, None)
    assert [GivePipes(100005, "process.user.uid")] == stdio.steps(5, MAPPINGS)
    assert "give the pipes on fds 0 to 2 to uid 5" == GivePipes(5, "").describe()


def test_who_has_no_id_outside_is_given_nothing():
    assert [] == stdio.steps(5000, MAPPINGS)


@root
@forked
def test_pipes_change_their_owner_and_nothing_else_does(tmp_path):
    read_fd, write_fd = os.pipe()
    file_fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.dup2(read_fd, 0)
    os.dup2(file_fd, 1)
    os.close(2)
    GivePipes(1000, "").apply(AT)

    assert (1000, 0) == (os.fstat(write_fd).st_uid, os.fstat(file_fd).st_uid)


@root
@forked
def test_a_device_stays_whose_it_is():
    null_fd = os.open("/dev/null", os.O_RDWR)
    before = os.fstat(null_fd).st_uid
    for fd in (0, 1, 2):
        os.dup2(null_fd, fd)
    GivePipes(1000, "").apply(AT)

    assert before == os.fstat(null_fd).st_uid


@root
@forked
def test_what_may_not_be_given_is_kept():
    read_fd, _ = os.pipe()
    os.dup2(read_fd, 0)
    os.setresuid(65534, 65534, 65534)
    GivePipes(1000, "").apply(AT)

    assert 0 == os.fstat(0).st_uid
