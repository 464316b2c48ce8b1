"""A seccomp program in a process of its own."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel.filter import install_filter, knows_flags
from aisbx_runtime.oci.kernel.process import PR_SET_NO_NEW_PRIVS, prctl
from tests.oci.forked import forked

pytestmark = pytest.mark.root
GETPPID = {"x86_64": 110, "aarch64": 173}.get(os.uname().machine, -1)


def refuse(number: int, error: int) -> bytes:
    """Return a program that fails one system call with `error` and allows the rest."""
    rows = (
        (0x20, 0, 0, 0),  # A = seccomp_data.nr
        (0x15, 0, 1, number),  # jump over the next when A is another
        (0x06, 0, 0, 0x00050000 | error),  # SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    return b"".join([struct.pack("HBBI", *row) for row in rows])


@forked
def test_a_program_is_obeyed_from_its_installation_on():
    prctl(PR_SET_NO_NEW_PRIVS, 1)

    assert os.getppid() > 0
    install_filter(refuse(GETPPID, errno.EXDEV), 0)

    # getppid(2) cannot fail, so nobody on the way turns what the filter returns into an error.
    assert -errno.EXDEV == os.getppid()


@forked
def test_flags_are_known_without_a_filter():
    # TSYNC, LOG, SPEC_ALLOW, NEW_LISTENER: older than any kernel that we support.
    assert all(knows_flags(flags) for flags in (0, 1, 2, 4, 8, 2 | 4 | 8))
    assert not knows_flags(1 << 30)
    # A thread id and a listener cannot both be returned.
    assert not knows_flags(1 | 8)
    with open("/proc/self/status", encoding="ascii") as lines:
        assert "Seccomp:\t0\n" in lines


@forked
def test_a_broken_program_is_refused():
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    with pytest.raises(KernelError) as caught:
        install_filter(b"\xff" * 8, 0)

    assert ("seccomp", errno.EINVAL) == (caught.value.syscall, caught.value.errno)


@forked
def test_an_unknown_flag_is_refused():
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    with pytest.raises(KernelError) as caught:
        install_filter(refuse(GETPPID, errno.EPERM), 1 << 30)

    assert errno.EINVAL == caught.value.errno


@forked
def test_without_privilege_and_without_no_new_privs_nothing_can_be_installed():
    os.setresuid(65534, 65534, 65534)
    with pytest.raises(KernelError) as caught:
        install_filter(refuse(GETPPID, errno.EPERM), 0)

    assert errno.EACCES == caught.value.errno


def thread_with_another_filter():
    import threading

    prctl(PR_SET_NO_NEW_PRIVS, 1)
    ready, done = threading.Event(), threading.Event()

    def diverge():
        install_filter(refuse(GETPPID, errno.EPERM), 0)
        ready.set()
        done.wait()

    thread = threading.Thread(target=diverge)
    thread.start()
    ready.wait()
    try:
        with pytest.raises(KernelError) as caught:
            install_filter(refuse(GETPPID, errno.EXDEV), 1)
    finally:
        done.set()
        thread.join()
    return caught.value


@forked
def test_a_thread_that_cannot_follow_is_a_failure_and_no_success():
    # seccomp(2): with TSYNC the result is then the id of that thread, a positive number.
    assert errno.ESRCH == thread_with_another_filter().errno
