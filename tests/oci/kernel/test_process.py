"""Births, ends and close-on-exec."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import process
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWUTS
from aisbx_runtime.oci.kernel.signal import reap
from tests.oci.forked import forked


def test_parent_and_child_go_on_from_the_same_place():
    pid, pidfd = process.clone3()
    if pid == 0:
        os._exit(0 if pidfd == -1 else 1)

    assert os.get_inheritable(pidfd) is False
    assert 0 == reap(pidfd)
    os.close(pidfd)


def test_the_pidfd_tells_the_end():
    pid, pidfd = process.clone3()
    if pid == 0:
        os._exit(0)
    select.select([pidfd], [], [])

    assert 0 == reap(pidfd)
    os.close(pidfd)


@pytest.mark.root
@forked
def test_a_child_is_born_in_its_namespaces():
    own = os.readlink("/proc/self/ns/uts")
    pid, pidfd = process.clone3(CLONE_NEWUTS)
    if pid == 0:
        os._exit(0 if own != os.readlink("/proc/self/ns/uts") else 1)

    assert 0 == reap(pidfd)


@pytest.mark.root
@forked
def test_with_clone_parent_it_is_a_sibling():
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    middle, middle_fd = process.clone3()
    if middle == 0:
        pid, _ = process.clone3(process.CLONE_PARENT)
        if pid == 0:
            os._exit(7)
        os._exit(0)

    assert 0 == reap(middle_fd)
    # It ends with SIGCHLD, as its maker would: our ordinary wait sees it.
    _, status = os.waitpid(-1, 0)

    assert 7 == os.waitstatus_to_exitcode(status)


def test_a_refused_birth_leaves_the_interpreter_whole():
    with pytest.raises(KernelError) as caught:
        process.clone3(1 << 63)

    assert ("clone3", errno.EINVAL) == (caught.value.syscall, caught.value.errno)
    # PyOS_AfterFork_Parent has let the import lock go.
    import colorsys  # noqa: F401


def test_a_program_is_executed_from_an_fd_with_its_arguments_and_environment():
    read_fd, write_fd = os.pipe()
    pid, pidfd = process.clone3()
    if pid == 0:
        os.dup2(write_fd, 1)
        fd = os.open("/bin/sh", os.O_RDONLY | os.O_CLOEXEC)
        process.execveat(fd, [b"name", b"-c", b'echo "$0 $1 $A"', b"x", b"y\xff"], [b"A=b\xfe"])
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as file:
        assert b"x y\xff b\xfe\n" == file.read()

    assert 0 == reap(pidfd)
    os.close(pidfd)


def test_what_cannot_be_executed_is_an_error():
    fd = os.memfd_create("nothing", os.MFD_CLOEXEC)
    with pytest.raises(KernelError) as caught:
        process.execveat(fd, [b"x"], [])
    os.close(fd)

    # An empty file has no format; a memfd with noexec sealing is refused earlier.
    assert caught.value.syscall == "execveat"
    assert caught.value.errno in {errno.ENOEXEC, errno.EACCES}


@pytest.mark.root
@forked
def test_an_attribute_is_set():
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    with open("/proc/self/status") as lines:
        assert "NoNewPrivs:\t1\n" in list(lines)


def test_an_unknown_attribute_is_refused():
    with pytest.raises(KernelError) as caught:
        process.prctl(1 << 20)

    assert ("prctl", errno.EINVAL) == (caught.value.syscall, caught.value.errno)


@pytest.mark.root
@forked
def test_a_range_of_fds_is_closed_or_marked():
    first = fcntl.fcntl(0, fcntl.F_DUPFD, 700)
    second = fcntl.fcntl(0, fcntl.F_DUPFD, first + 1)
    process.close_range(second, process.MAX_FD)
    process.close_range(first, process.MAX_FD, process.CLOSE_RANGE_CLOEXEC)

    assert os.get_inheritable(first) is False
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second)


@pytest.mark.root
@forked
def test_a_child_can_ask_to_die_with_its_parent():
    read_fd, write_fd = os.pipe()
    middle, middle_fd = process.clone3()
    if middle == 0:
        pid, _ = process.clone3()
        if pid == 0:
            process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
            os.write(write_fd, b"x")
            signal.pause()
        signal.pause()
    os.close(write_fd)
    os.read(read_fd, 1)
    signal.pidfd_send_signal(middle_fd, signal.SIGKILL)

    # The end of the pipe: nobody holds its other end any more.
    assert b"" == os.read(read_fd, 1)
