"""The errno check, and calls by number."""

from __future__ import annotations

import ctypes
import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import call


def test_a_result_is_passed_through():
    assert 7 == call.check(7, "dup")


def test_minus_one_is_the_error_of_the_last_call():
    ctypes.set_errno(errno.EBADF)
    with pytest.raises(KernelError) as caught:
        call.check(-1, "dup", "/somewhere")

    assert ("dup", errno.EBADF, "/somewhere") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


def test_the_text_of_an_error_is_its_name_and_not_the_words_of_strerror():
    ctypes.set_errno(errno.ENOENT)
    with pytest.raises(KernelError) as caught:
        call.check(-1, "open_tree")

    assert "ENOENT" == caught.value.strerror


def test_a_call_by_number_names_itself_and_its_path():
    with pytest.raises(KernelError) as caught:
        call.syscall("open_tree", -1, b"x", 0, path="x")

    assert ("open_tree", errno.EBADF, "x") == (
        caught.value.syscall,
        caught.value.errno,
        caught.value.filename,
    )


def test_a_call_by_number_returns_what_the_kernel_returns():
    context_fd = call.syscall("open_tree", os.open("/", os.O_PATH), b"", 0x1000 | os.O_CLOEXEC)

    assert os.get_inheritable(context_fd) is False
    os.close(context_fd)
