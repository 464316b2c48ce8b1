"""podman's default filter as the runtime loads it, by 64-bit and by 32-bit calls.

CVE-2022-0185, CVE-2022-0492 and their kin, CVE-2026-31431: a flawed runtime filters the native
calls only, or not those that another architecture makes.
"""

from __future__ import annotations

import os
import shutil

import pytest

from integration.security import filters

ENTRIES = ("64", "32")
REFUSED = {"1", "38", "killed"}  # EPERM, ENOSYS

pytestmark = [
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="32-bit calls are those of x86"),
    pytest.mark.skipif(not os.path.exists(filters.FILE), reason="no filter of podman here"),
]


@pytest.fixture
def calls(runtime, bundle, tool):
    shutil.copy(tool("calls"), f"{bundle.rootfs}/opt/calls")

    def made(filter_, *names):
        bundle.config["linux"]["seccomp"] = filter_
        result = runtime.run(bundle.args("/opt/calls", *names)).ok()
        words = [line.split() for line in result.lines]
        return {f"{name} {entry}": said for name, entry, said in words}

    return made


@pytest.mark.parametrize(
    "name", ["unshare", "mount", "fsopen", "io_uring_setup", "keyctl", "bpf", "userfaultfd"]
)
def test_what_leads_into_the_kernel_is_refused_in_both_entries(calls, name):
    # CVE-2022-0185 (fsopen), CVE-2022-0492 (unshare, mount) and others. podman itself lets some of
    # them pass: what it refuses in 64-bit calls must be refused in 32-bit ones as well.
    said = calls(filters.podman_filter(), name, "getpid")

    assert said["getpid 64"] == "0"
    if name in {"fsopen", "bpf", "userfaultfd"}:
        assert said[f"{name} 64"] in REFUSED
    assert (said[f"{name} 64"] in REFUSED) == (said[f"{name} 32"] in REFUSED), said


def test_a_filter_that_refuses_families_refuses_them_in_both_entries(calls):
    # CVE-2026-31431 "Copy Fail": AF_ALG writes into the page cache of shared image layers.
    # Not socketcall(2): libseccomp turns a rule for socket(2) into one for it without the family.
    filter_ = filters.without_families(filters.podman_filter())
    said = calls(filter_, "unix", "alg", "vsock")

    assert (said.pop("unix 64"), said.pop("unix 32")) == ("0", "0")
    assert {name for name, word in said.items() if word not in REFUSED} == set(), said


def test_without_the_32_bit_architecture_no_32_bit_call_is_made(calls):
    # socketcall(2) cannot be filtered by family: an engine can only drop the architecture.
    filter_ = {**filters.podman_filter(), "architectures": ["SCMP_ARCH_X86_64"]}
    said = calls(filter_, "getpid", "alg", "socketcall-alg")

    assert said["getpid 64"] == "0"
    assert {said["getpid 32"], said["alg 32"], said["socketcall-alg 32"]} <= REFUSED, said


def test_an_exec_is_under_the_same_filter(runtime, bundle, tool):
    shutil.copy(tool("calls"), f"{bundle.rootfs}/opt/calls")
    bundle.config["linux"]["seccomp"] = filters.without_families(filters.podman_filter())
    container = runtime.started(bundle)
    lines = container.exec("/opt/calls", "alg", "vsock", "bpf").ok().lines

    assert {line for line in lines if line.split()[2] not in REFUSED} == set()
