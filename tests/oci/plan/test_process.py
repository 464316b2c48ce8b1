"""Rights, limits, directory and program of a process, set on a real one."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from aisbx_runtime.oci.errors import KernelError, SpecError
from aisbx_runtime.oci.kernel import credentials
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWUSER, unshare
from aisbx_runtime.oci.plan import process, program
from aisbx_runtime.oci.plan.home import FindHome
from aisbx_runtime.oci.plan.process import (
    DropBoundingSet,
    EnterDirectory,
    InstallFilter,
    JoinKeyring,
    SetCapabilities,
    SetNoNewPrivileges,
    SetRlimit,
    SetUser,
)
from aisbx_runtime.oci.plan.program import FindProgram
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.spec.model import Capabilities, Linux, Namespace, Process, Rlimit, User
from tests import hosts
from tests.oci.forked import forked

root = pytest.mark.root
KILL, CHOWN = 1 << 5, 1 << 0
INFINITY = 2**64 - 1
AT = World("one", "/bundle")


def a_process(**fields) -> Process:
    return Process(**{"args": ("true",), "cwd": "/", **fields})


def steps(host=hosts.UNIFIED, filter_flags=None, **fields):
    asked = a_process(**fields)
    return process.steps(asked, Linux(), host, filter_flags=filter_flags, set_groups=True)


def status() -> dict[str, str]:
    with open("/proc/self/status") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


# ---- which steps ---------------------------------------------------------------------------------
def test_the_least_process_still_gives_up_every_right():
    expected = [
        EnterDirectory("/", final=False, origin="process.cwd"),
        FindHome(0, "process.env"),
        DropBoundingSet(0, 40, "process.capabilities.bounding"),
        SetUser(User(), set_groups=True, origin="process.user"),
        SetCapabilities(0, 0, 0, 0, 0, "process.capabilities"),
        EnterDirectory("/", final=True, origin="process.cwd"),
        FindProgram("true", None, "process.args[0]"),
    ]

    assert expected == steps()


def test_a_home_that_is_given_is_not_looked_up():
    assert FindHome(0, "process.env") not in steps(env=("HOME=/mine",))


def test_the_filter_is_installed_here_only_without_no_new_privs():
    early = InstallFilter(2, "linux.seccomp")

    assert early in steps(filter_flags=2)
    assert early not in steps(filter_flags=2, no_new_privileges=True)
    assert SetNoNewPrivileges("process.noNewPrivileges") == steps(no_new_privileges=True)[0]


def test_ambient_is_cut_to_what_can_be_had():
    sets = Capabilities(
        permitted=("CAP_KILL", "CAP_CHOWN"), inheritable=("CAP_KILL",), ambient=("CAP_KILL",
        "CAP_CHOWN", "CAP_SYSLOG"), effective=("CAP_CHOWN",)
    )  # fmt: skip

    assert SetCapabilities(CHOWN, KILL | CHOWN, KILL, KILL, 0, "process.capabilities") in steps(
        capabilities=sets
    )


def test_capabilities_beyond_the_kernels_last_are_left_out_with_a_warning():
    old = hosts.host(last_capability=5)
    sets = Capabilities(bounding=("CAP_KILL", "CAP_SYSLOG"), effective=("NOSUCH", "CAP_SYSLOG"))
    asked = a_process(capabilities=sets)

    assert DropBoundingSet(KILL, 5, "process.capabilities.bounding") in steps(
        old, capabilities=sets
    )
    assert [
        "process.capabilities: CAP_SYSLOG is unknown here and ignored",
        "process.capabilities: NOSUCH is unknown here and ignored",
    ] == process.warnings(asked, Linux(), old)
    assert [] == process.warnings(a_process(), Linux(), old)


RESTRICTED = hosts.host(grantable=KILL)
BOTH = Capabilities(*[("CAP_KILL", "CAP_CHOWN")] * 5)


def test_what_a_restricted_root_cannot_give_is_left_out_with_a_warning():
    asked = a_process(capabilities=BOTH)

    assert [
        "process.capabilities: CAP_CHOWN is not the caller's to give, and ignored"
    ] == process.warnings(asked, Linux(), RESTRICTED)
    found = steps(RESTRICTED, capabilities=BOTH)
    assert DropBoundingSet(KILL, 40, "process.capabilities.bounding") in found
    assert SetCapabilities(KILL, KILL, KILL, KILL, 0, "process.capabilities") in found


def test_in_a_user_namespace_everything_can_be_given():
    linux = Linux(namespaces=(Namespace("user"),))
    found = process.steps(
        a_process(capabilities=BOTH), linux, RESTRICTED, filter_flags=None, set_groups=True
    )
    every = KILL | CHOWN

    assert [] == process.warnings(a_process(capabilities=BOTH), linux, RESTRICTED)
    assert SetCapabilities(every, every, every, every, 0, "process.capabilities") in found


def test_an_ambient_capability_that_cannot_be_raised_is_told():
    sets = Capabilities(
        permitted=("CAP_KILL", "CAP_CHOWN"),
        inheritable=("CAP_KILL", "CAP_FOWNER"),
        ambient=("CAP_KILL", "CAP_CHOWN", "CAP_FOWNER", "CAP_SYSLOG", "NOSUCH", "CAP_SYSLOG"),
    )
    at = "process.capabilities.ambient"

    assert [
        "process.capabilities: NOSUCH is unknown here and ignored",
        f"{at}: not permitted, and so ignored: CAP_FOWNER CAP_SYSLOG",
        f"{at}: not inheritable, and so ignored: CAP_CHOWN CAP_SYSLOG",
    ] == process.warnings(a_process(capabilities=sets), Linux(), hosts.UNIFIED)


def test_limits_keep_their_order():
    limits = (Rlimit("RLIMIT_CORE", 0, 1), Rlimit("RLIMIT_NOFILE", 5, INFINITY))
    expected = [
        SetRlimit("RLIMIT_CORE", 0, 1, "process.rlimits[0]"),
        SetRlimit("RLIMIT_NOFILE", 5, INFINITY, "process.rlimits[1]"),
    ]

    assert expected == process.rlimit_steps(a_process(rlimits=limits))


@pytest.mark.parametrize(
    ("env", "path"),
    [((), None), (("A=1",), None), (("PATH=/a", "PATH=/b"), "/b"), (("PATH=",), ""),
     (("XPATH=/x", "PATH=/a=b"), "/a=b")],
)  # fmt: skip
def test_the_last_path_counts(env, path):
    assert path == program.path_of(a_process(env=env))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (SetRlimit("RLIMIT_CORE", 5, INFINITY, ""), "limit RLIMIT_CORE to 5, at most unlimited"),
        (DropBoundingSet(KILL, 40, ""), "keep in the bounding set: CAP_KILL"),
        (DropBoundingSet(0, 40, ""), "keep in the bounding set: none"),
        (DropBoundingSet(2**41 - 1, 40, ""), "keep in the bounding set: all"),
        (SetUser(User(), set_groups=True, origin=""), "become uid 0, gid 0, umask 0022"),
        (
            SetUser(User(1, 2, 0o77, (5, 6)), set_groups=True, origin=""),
            "become uid 1, gid 2, groups [5, 6], umask 0077",
        ),
        (EnterDirectory("/x", final=True, origin=""), "enter /x as the user"),
        (EnterDirectory("/x", final=False, origin=""), "enter /x before the user is switched"),
        (FindProgram("ls", None, ""), "look up the program ls"),
        (JoinKeyring("k", ""), "join a new session keyring"),
        (
            SetCapabilities(KILL, KILL, 0, 0, 0, ""),
            (
                "set capabilities: effective CAP_KILL; permitted CAP_KILL; inheritable none; "
                "ambient none"
            ),
        ),
    ],
)
def test_what_is_done_is_told(step, said):
    assert said == step.describe()


# ---- limits --------------------------------------------------------------------------------------
@root
@forked
def test_a_limit_is_set():
    SetRlimit("RLIMIT_CORE", 4096, 8192, "").apply(AT)
    assert (4096, 8192) == resource.getrlimit(resource.RLIMIT_CORE)


@root
@forked
def test_unlimited_is_the_largest_number():
    SetRlimit("RLIMIT_FSIZE", INFINITY, INFINITY, "").apply(AT)
    assert (resource.RLIM_INFINITY,) * 2 == resource.getrlimit(resource.RLIMIT_FSIZE)


@root
@forked
def test_a_limit_beyond_the_hard_one_needs_privilege():
    SetRlimit("RLIMIT_NOFILE", 100, 100, "").apply(AT)
    os.setresuid(65534, 65534, 65534)
    with pytest.raises(KernelError) as caught:
        SetRlimit("RLIMIT_NOFILE", 200, 200, "process.rlimits[0]").apply(AT)

    assert ("setrlimit", errno.EPERM, "RLIMIT_NOFILE") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


# ---- rights --------------------------------------------------------------------------------------
@root
@forked
def test_no_new_privs_is_set():
    SetNoNewPrivileges("").apply(AT)

    assert "1" == status()["NoNewPrivs"]


@root
@forked
def test_the_bounding_set_is_what_is_kept():
    DropBoundingSet(KILL | CHOWN, hosts.UNIFIED.last_capability, "").apply(AT)

    assert KILL | CHOWN == int(status()["CapBnd"], 16)


@root
@forked
def test_the_whole_way_ends_as_the_user_with_exactly_its_rights(tmp_path):
    sets = Capabilities(
        bounding=("CAP_KILL", "CAP_CHOWN"), permitted=("CAP_KILL",), effective=("CAP_KILL",),
        inheritable=("CAP_KILL",), ambient=("CAP_KILL",)
    )  # fmt: skip
    asked = a_process(
        args=("/bin/sh",), user=User(1000, 1001, 0o27, (5, 6)), capabilities=sets,
        no_new_privileges=True,
    )  # fmt: skip
    at = World("one", "/bundle")
    for step in process.steps(asked, Linux(), hosts.UNIFIED, filter_flags=None, set_groups=True):
        step.apply(at)
    found = status()

    assert ("1000\t" * 4, "1001\t" * 4) == (found["Uid"] + "\t", found["Gid"] + "\t")
    assert ["5", "6"] == found["Groups"].split()
    assert "0027" == found["Umask"]
    assert {KILL} == {int(found[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Amb")}
    assert KILL | CHOWN == int(found["CapBnd"], 16)
    assert "/bin/sh" == at.program


@root
@forked
def test_without_capabilities_root_has_none():
    at = World("one", "/bundle")
    asked = a_process(args=("/bin/sh",))
    for step in process.steps(asked, Linux(), hosts.UNIFIED, filter_flags=None, set_groups=True):
        step.apply(at)

    assert 0 == credentials.permitted_set()


@root
@forked
def test_a_user_namespace_that_is_joined_may_deny_groups():
    deny_setgroups()
    SetUser(User(), True, "", may_be_denied=True).apply(AT)
    with pytest.raises(SpecError, match="additionalGids"):
        SetUser(User(additional_gids=(0,)), True, "", may_be_denied=True).apply(AT)


@root
@forked
def test_whatever_else_denies_groups_is_an_error():
    # A caller without CAP_SETGID: its groups would stay with the container.
    deny_setgroups()
    with pytest.raises(PermissionError):
        SetUser(User(), True, "").apply(AT)


def deny_setgroups():
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


@root
@forked
def test_groups_are_kept_where_they_are_not_to_be_set():
    os.setgroups([7])
    SetUser(User(1000, 1000, None, (5,)), set_groups=False, origin="").apply(AT)

    assert [7] == os.getgroups()
