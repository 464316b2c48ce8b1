"""Which sources of bind mounts are taken before any mount is made, and which in their turn."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.plan import sources
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.plan.mounts import BindMount
from aisbx_runtime.oci.plan.sources import OpenSource
from aisbx_runtime.oci.spec.model import IdMapping, Linux, Mount, Namespace, Process, Root, Spec
from tests import hosts

MAP = (IdMapping(0, 100000, 65536),)


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        ("/srv", ("rbind", "ro"), False),
        ("/srv", ("rbind", "rslave"), False),
        ("data", ("bind",), False),
        ("/bundle", ("rbind", "unbindable"), True),
        ("/srv", ("rbind", "shared"), True),
        ("/srv", ("rbind", "rshared"), True),
        ("/srv", ("bind", "idmap"), True),
        # What these are depends on who looks.
        ("/proc/self/fd/3", ("bind",), True),
        ("/dev/fd/3", ("bind",), True),
        ("/dev/stdin", ("bind",), True),
        ("/dev/null", ("bind",), False),
        ("/procedures", ("bind",), False),
        # The container's mounts are there meanwhile.
        ("/", ("rbind",), True),
        ("/bundle/", ("rbind",), True),
        ("rootfs", ("rbind",), True),
        ("rootfs/srv", ("rbind",), True),
        ("rootfs2", ("rbind",), False),
        ("/bun", ("rbind",), False),
    ],
)
def test_what_cannot_be_taken_in_its_turn_is_taken_first(source, options, expected):
    entry = Mount("/mnt", "bind", source, options)

    assert expected is sources.is_taken_first(entry, "/bundle", "/bundle/rootfs")


def plan_of(*entries: Mount, host=hosts.UNIFIED, user=False):
    spaces = [Namespace("mount"), *([Namespace("user")] if user else [])]
    maps = MAP if user else ()
    linux = Linux(namespaces=tuple(spaces), uid_mappings=maps, gid_mappings=maps)
    spec = Spec(
        "1.2.1", Root("rootfs"), process=Process(("true",), "/"), mounts=entries, linux=linux
    )
    return build(spec, host, "one", "/bundle", Options(""))


ENTRIES = (
    Mount("/a", "bind", "/srv", ("rbind",)),
    Mount("/b", "bind", "/srv", ("rbind", "rshared")),
)


def of(plan, phase):
    return [one for one in plan.phase(phase) if isinstance(one, (OpenSource, BindMount))]


def test_a_source_is_taken_right_before_it_is_attached():
    plan = plan_of(*ENTRIES)
    first, second, third = of(plan, "rootfs")

    assert ["take /srv with all below it"] == [one.describe() for one in of(plan, "host")]
    assert ("mounts[0]", "mounts[0]", "mounts[1]") == (first.key, second.key, third.key)
    assert (False, True) == (second.long_before, third.long_before)


def test_sources_for_another_user_namespace_are_taken_by_the_runtime():
    plan = plan_of(*ENTRIES, user=True)

    assert ["mounts[0]", "mounts[1]"] == [one.key for one in of(plan, "host")]
    assert [True, True] == [one.long_before for one in of(plan, "rootfs")]


def test_a_plain_user_takes_sources_in_its_own_user_namespace():
    plan = plan_of(*ENTRIES, user=True, host=hosts.USER)

    assert [] == of(plan, "host")
    assert ["mounts[1]", "mounts[0]", "mounts[0]", "mounts[1]"] == [
        one.key for one in of(plan, "rootfs")
    ]
