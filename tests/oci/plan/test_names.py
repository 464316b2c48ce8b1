"""hostname, domainname and sysctls."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, unshare
from aisbx_runtime.oci.plan import names
from aisbx_runtime.oci.plan.names import SetDomainname, SetHostname, SetSysctl
from aisbx_runtime.oci.spec.model import Linux, Root, Spec
from tests.oci.forked import forked
from tests.oci.world import world


def text_of(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def test_nothing_is_set_unless_asked_for():
    assert [] == names.confine_steps(Spec("1.2.1", Root("r"), hostname="", domainname=None))


def test_names_come_before_sysctls_which_come_in_their_order():
    sysctl = {"net.core.somaxconn": "1", "kernel.domainname": "d"}
    spec = Spec("1.2.1", Root("r"), hostname="h", domainname="d", linux=Linux(sysctl=sysctl))
    expected = [
        SetHostname("h", "hostname"),
        SetDomainname("d", "domainname"),
        SetSysctl("net.core.somaxconn", "1", "linux.sysctl['net.core.somaxconn']"),
        SetSysctl("kernel.domainname", "d", "linux.sysctl['kernel.domainname']"),
    ]

    assert expected == names.confine_steps(spec)


def test_what_is_set_is_told():
    steps = (SetHostname("h", ""), SetDomainname("d", ""), SetSysctl("a.b", "c", ""))

    assert ["set the hostname to h", "set the domain name to d", "set a.b = c"] == [
        step.describe() for step in steps
    ]


@pytest.mark.root
@forked
def test_names_are_set(tmp_path):
    unshare(CLONE_NEWUTS)
    at = world(tmp_path)
    SetHostname("inside", "").apply(at)
    SetDomainname("domain", "").apply(at)

    assert ("inside", "domain") == (os.uname().nodename, text_of("/proc/sys/kernel/domainname"))


@pytest.mark.root
@pytest.mark.parametrize("name", ["net.core.somaxconn", "net/core/somaxconn"])
@forked
def test_a_sysctl_is_written_in_both_spellings(tmp_path, name):
    unshare(CLONE_NEWNET)
    SetSysctl(name, "77", "").apply(world(tmp_path))

    assert "77" == text_of("/proc/sys/net/core/somaxconn")


@pytest.mark.root
@forked
def test_a_sysctl_of_the_ipc_namespace_is_written(tmp_path):
    unshare(CLONE_NEWIPC)
    SetSysctl("kernel.msgmax", "4097", "").apply(world(tmp_path))

    assert "4097" == text_of("/proc/sys/kernel/msgmax")


@pytest.mark.root
@forked
def test_a_refused_value_names_the_file(tmp_path):
    unshare(CLONE_NEWNET)
    with pytest.raises(KernelError) as caught:
        SetSysctl("net.core.somaxconn", "many", "").apply(world(tmp_path))

    assert ("write", errno.EINVAL, "/proc/sys/net/core/somaxconn") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


@pytest.mark.root
@forked
def test_an_unknown_sysctl_is_an_error(tmp_path):
    with pytest.raises(KernelError) as caught:
        SetSysctl("net.core.nosuch", "1", "").apply(world(tmp_path))

    assert errno.ENOENT == caught.value.errno


@pytest.mark.root
@forked
def test_a_sysctl_is_not_written_to_what_covers_the_file(tmp_path):
    # CVE-2025-52881: something mounted over /proc/sys/... must not receive the write.
    trap = tmp_path / "trap"
    trap.write_text("untouched")
    at = world(tmp_path)
    at.proc_fd = os.open("/proc", os.O_PATH)
    tree_fd = mount.open_tree(mount.AT_FDCWD, f"{trap}", mount.OPEN_TREE_CLONE)
    mount.move_mount_to_path(tree_fd, "/proc/sys/net/core/somaxconn")
    with pytest.raises(KernelError) as caught:
        SetSysctl("net.core.somaxconn", "77", "").apply(at)

    assert (errno.EXDEV, "untouched") == (caught.value.errno, trap.read_text())
