"""Which namespaces are new, joined, mapped; carried out where that changes only a child."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import HostError, KernelError, SpecError
from aisbx_runtime.oci.kernel import namespaces as kernel
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import reap
from aisbx_runtime.oci.plan import namespaces
from aisbx_runtime.oci.plan.namespaces import (
    BecomeContainerRoot,
    BringUpLoopback,
    DenySetgroups,
    JoinNamespaces,
    LeaveGroups,
    NewCgroupNamespace,
    OpenNamespace,
    WriteIdMap,
)
from aisbx_runtime.oci.plan.step import Birth, World
from aisbx_runtime.oci.spec.model import IdMapping, Linux, Namespace, Root, Spec, TimeOffset
from tests import hosts
from tests.oci.forked import forked

root = pytest.mark.root
OWN = (IdMapping(0, 1000, 1),)
MANY = (IdMapping(0, 100000, 65536), IdMapping(65536, 1000, 1))


def spec(*entries, **linux) -> Spec:
    made = tuple(Namespace(*one.split("=", 1)) if "=" in one else Namespace(one) for one in entries)
    return Spec("1.2.1", Root("r"), linux=Linux(namespaces=made, **linux))


# ---- birth ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("entries", "new", "joins", "intermediate"),
    [
        ((), (), (), False),
        (("pid", "mount"), ("pid", "mount"), (), False),
        (("pid", "network=/n"), ("pid",), ("network",), False),
        (("user", "pid"), ("user", "pid"), (), False),
        # The child of a new user namespace may not join what its owner holds.
        (("user", "network=/n"), ("user",), ("network",), True),
        (("user=/u", "pid=/p"), (), ("user", "pid"), True),
    ],
)
def test_how_init_is_born(entries, new, joins, intermediate):
    assert Birth(new, joins, intermediate, ()) == namespaces.birth(spec(*entries), hosts.UNIFIED)


def test_offsets_of_clocks_are_part_of_the_birth():
    asked = spec("time", time_offsets={"boottime": TimeOffset(5, 6), "monotonic": TimeOffset()})

    assert (("boottime", 5, 6), ("monotonic", 0, 0)) == namespaces.birth(
        asked, hosts.UNIFIED
    ).time_offsets


def test_files_are_opened_for_what_is_joined():
    expected = [OpenNamespace("network", "/n", "linux.namespaces[1].path")]

    assert expected == namespaces.open_steps(spec("pid", "network=/n"))


# ---- id maps -------------------------------------------------------------------------------------
def maps(host, uid_map, gid_map, *entries):
    asked = spec(*(entries or ("user",)), uid_mappings=uid_map, gid_mappings=gid_map)
    return namespaces.adopt_steps(asked, host)


def test_root_writes_any_map():
    assert [
        WriteIdMap("uid", MANY, True, "linux.uidMappings"),
        WriteIdMap("gid", MANY, True, "linux.gidMappings"),
    ] == maps(hosts.UNIFIED, MANY, MANY)


def test_a_user_writes_the_own_id_and_gives_up_setgroups():
    assert [
        DenySetgroups("linux.gidMappings"),
        WriteIdMap("uid", OWN, True, "linux.uidMappings"),
        WriteIdMap("gid", OWN, True, "linux.gidMappings"),
    ] == maps(hosts.USER, OWN, OWN)


@pytest.mark.parametrize(
    "mappings", [MANY, (IdMapping(0, 1001, 1),), (IdMapping(0, 1000, 2),), (*OWN, *OWN)]
)
def test_for_more_than_the_own_id_a_user_needs_the_helpers(mappings):
    assert [
        WriteIdMap("uid", mappings, False, "linux.uidMappings"),
        WriteIdMap("gid", mappings, False, "linux.gidMappings"),
    ] == maps(hosts.USER, mappings, mappings)


def test_a_plain_user_sets_no_clocks():
    asked = spec("user", "time", time_offsets={"boottime": TimeOffset(1, 0)})
    with pytest.raises(SpecError, match="timeOffsets"):
        namespaces.birth(asked, hosts.USER)

    assert namespaces.birth(asked, hosts.UNIFIED).time_offsets == (("boottime", 1, 0),)
    assert namespaces.birth(asked, hosts.ROOTLESS).time_offsets == (("boottime", 1, 0),)


@pytest.mark.parametrize(
    ("host", "entry", "left"),
    [
        (hosts.UNIFIED, "user=/u", [LeaveGroups("linux.namespaces[1].path")]),
        (hosts.UNIFIED, "user", []),
        (hosts.USER, "user=/u", []),
        (hosts.host(user_namespace=True), "user=/u", []),
    ],
)
def test_root_leaves_its_groups_before_it_joins_a_user_namespace(host, entry, left):
    assert left == namespaces.group_steps(spec("pid", entry), host)


def test_a_joined_user_namespace_has_its_map():
    assert [] == maps(hosts.UNIFIED, MANY, MANY, "user=/u")


def test_no_map_no_step():
    assert [] == maps(hosts.UNIFIED, (), ())


@pytest.mark.parametrize(
    ("host", "entries", "gid_map", "denied"),
    [
        (hosts.UNIFIED, (), (), False),
        (hosts.host(may_setgroups=False), (), (), True),
        # user_namespaces(7): what is denied outside is denied in every namespace below.
        (hosts.host(may_setgroups=False), ("user",), MANY, True),
        (hosts.USER, ("user",), OWN, True),
        (hosts.USER, ("user",), MANY, False),
    ],
)
def test_where_setgroups_is_denied(host, entries, gid_map, denied):
    assert denied is namespaces.denies_setgroups(spec(*entries, gid_mappings=gid_map), host)


# ---- container init ------------------------------------------------------------------------------
def test_what_init_does_first():
    asked = spec("network", "cgroup", "uts=/u", "pid=/p")
    expected = [
        JoinNamespaces(("uts",), "linux.namespaces"),
        NewCgroupNamespace("linux.namespaces[1]"),
        BringUpLoopback("linux.namespaces[0]"),
    ]

    assert expected == namespaces.init_steps(asked, hosts.UNIFIED)


def test_what_the_intermediate_process_has_joined_is_not_joined_again():
    assert [BecomeContainerRoot("linux.uidMappings")] == namespaces.init_steps(
        spec("user=/u", "network=/n"), hosts.UNIFIED
    )


@pytest.mark.parametrize(("host", "intermediate"), [("UNIFIED", False), ("ROOTLESS", True)])
def test_a_runtime_without_rights_over_its_own_namespaces_enters_none_itself(host, intermediate):
    born = namespaces.birth(spec("pid=/p"), getattr(hosts, host))

    assert intermediate == born.intermediate


def test_predicates():
    asked = spec("network", "uts=/u")

    assert (True, False) == (namespaces.is_new(asked, "network"), namespaces.is_new(asked, "uts"))
    assert (True, False) == (
        namespaces.is_private(asked, "uts"),
        namespaces.is_private(asked, "ipc"),
    )


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (OpenNamespace("network", "/n", ""), "open the network namespace /n"),
        (JoinNamespaces(("uts",), ""), "join the uts namespace"),
        (JoinNamespaces(("uts", "ipc"), ""), "join the uts, ipc namespaces"),
        (
            WriteIdMap("uid", MANY, True, ""),
            "map uids: 0 -> 100000 x 65536, 65536 -> 1000 x 1",
        ),
        (WriteIdMap("gid", OWN, False, ""), "map gids with newgidmap: 0 -> 1000 x 1"),
        (DenySetgroups(""), "deny setgroups in the user namespace"),
        (BecomeContainerRoot(""), "become uid 0, gid 0 of the user namespace"),
        (NewCgroupNamespace(""), "make the cgroup the root of a new cgroup namespace"),
        (BringUpLoopback(""), "bring up the loopback interface"),
    ],
)
def test_what_is_done_is_told(step, said):
    assert said == step.describe()


# ---- on the kernel -------------------------------------------------------------------------------
def in_new_user_namespace(step, inside=lambda: None) -> int:
    """Apply `step` to a child that waits in a new user namespace; return how the child ends."""
    go_read, go_write = os.pipe()
    pid, pidfd = clone3(kernel.CLONE_NEWUSER)
    if pid == 0:
        code = 1
        try:
            os.read(go_read, 1)
            inside()
            code = 0
        finally:
            os._exit(code)
    at = World("one", "/bundle")
    at.pid = pid
    try:
        step.apply(at)
    finally:
        os.write(go_write, b"g")
        status = reap(pidfd)
    return status


def map_reads(text):
    with open("/proc/self/uid_map") as file:
        assert text.split() == file.read().split()


@root
@forked
def test_a_map_is_written_in_one_piece():
    mappings = (IdMapping(0, 0, 1), IdMapping(1, 100000, 65536))

    assert 0 == in_new_user_namespace(
        WriteIdMap("uid", mappings, True, ""), lambda: map_reads("0 0 1 1 100000 65536")
    )


@root
@forked
def test_a_map_that_the_kernel_refuses_is_named():
    overlapping = (IdMapping(0, 0, 2), IdMapping(1, 5, 1))
    with pytest.raises(KernelError) as caught:
        in_new_user_namespace(WriteIdMap("gid", overlapping, True, ""))

    assert ("gid_map", errno.EINVAL) == (caught.value.syscall, caught.value.errno)


@root
@forked
def test_setgroups_is_denied():
    def check():
        with open("/proc/self/setgroups") as file:
            assert "deny" == file.read().strip()

    assert 0 == in_new_user_namespace(DenySetgroups(""), check)


@root
@forked
def test_init_becomes_root_of_its_namespace():
    mappings = (IdMapping(0, 100000, 65536),)
    at = World("one", "/bundle")

    def check():
        with open("/proc/self/setgroups") as file:
            file.read()
        BecomeContainerRoot("").apply(at)
        assert (0, 0) == (os.getuid(), os.geteuid())

    class Both:
        def apply(self, world):
            WriteIdMap("uid", mappings, True, "").apply(world)
            WriteIdMap("gid", mappings, True, "").apply(world)

    assert 0 == in_new_user_namespace(Both(), check)


@root
@forked
def test_without_a_root_in_it_init_stays_nobody():
    assert 0 == in_new_user_namespace(
        WriteIdMap("uid", (IdMapping(5, 0, 1),), True, ""),
        lambda: BecomeContainerRoot("").apply(World("one", "/bundle")),
    )


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Put a program in the place of newuidmap: the real one needs lines in /etc/subuid."""

    def make(script):
        path = tmp_path / "newuidmap"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def run_helper() -> None:
    at = World("one", "/bundle")
    at.pid = 7
    WriteIdMap("uid", MANY, False, "").apply(at)


def test_the_helper_gets_pid_and_ranges(helper, tmp_path):
    helper(f'echo "$@" > {tmp_path}/args; /usr/bin/env > {tmp_path}/env')
    run_helper()

    assert "7 0 100000 65536 65536 1000 1\n" == (tmp_path / "args").read_text()
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "PWD", "SHLVL", "_"}


def test_the_helpers_last_word_is_the_reason(helper):
    helper("echo first >&2; echo 'uid range not allowed' >&2; exit 1")
    with pytest.raises(HostError) as caught:
        run_helper()

    assert "uid range not allowed" == caught.value.why
    assert "/etc/subuid" in caught.value.hint


def test_a_silent_helper_is_told_by_its_exit(helper):
    helper("exit 3")
    with pytest.raises(HostError) as caught:
        run_helper()

    assert "exit 3" == caught.value.why


def test_a_missing_helper_is_told_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path}")
    with pytest.raises(HostError) as caught:
        run_helper()

    assert "uidmap" in caught.value.hint


@root
@forked
def test_opened_namespaces_are_joined():
    kernel.unshare(kernel.CLONE_NEWUTS)
    inner = os.readlink("/proc/self/ns/uts")
    at = World("one", "/bundle")
    OpenNamespace("uts", "/proc/self/ns/uts", "").apply(at)
    kernel.unshare(kernel.CLONE_NEWUTS)
    JoinNamespaces(("uts",), "").apply(at)

    assert inner == os.readlink("/proc/self/ns/uts")
    assert os.get_inheritable(at.namespace_fds["uts"]) is False


def test_a_missing_namespace_file_is_named(tmp_path):
    with pytest.raises(KernelError) as caught:
        OpenNamespace("uts", f"{tmp_path}/none", "").apply(World("one", "/bundle"))

    assert ("open", f"{tmp_path}/none") == (caught.value.syscall, caught.value.filename)


@root
@forked
def test_a_cgroup_namespace_is_new():
    before = os.readlink("/proc/self/ns/cgroup")
    NewCgroupNamespace("").apply(World("one", "/bundle"))

    assert before != os.readlink("/proc/self/ns/cgroup")


@root
@forked
def test_loopback_is_brought_up():
    kernel.unshare(kernel.CLONE_NEWNET)
    BringUpLoopback("").apply(World("one", "/bundle"))
    with (
        open("/proc/net/if_inet6")
        if os.path.exists("/proc/net/if_inet6")
        else open("/proc/net/dev") as file
    ):
        assert "lo" in file.read()
