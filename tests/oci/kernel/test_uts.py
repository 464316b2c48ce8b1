"""Names of a UTS namespace of its own."""

from __future__ import annotations

import errno
import os

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import namespaces, uts
from tests.oci.forked import forked

pytestmark = pytest.mark.root


@forked
def test_names_are_set_in_bytes():
    namespaces.unshare(namespaces.CLONE_NEWUTS)
    uts.set_hostname("h\u00e9")
    uts.set_domainname("d\u00e9")
    with open("/proc/sys/kernel/domainname") as file:
        domain = file.read().strip()

    assert ("h\u00e9", "d\u00e9") == (os.uname().nodename, domain)


@pytest.mark.parametrize("call", ["hostname", "domainname"])
@forked
def test_a_name_beyond_64_bytes_is_refused(call):
    namespaces.unshare(namespaces.CLONE_NEWUTS)
    with pytest.raises(KernelError) as caught:
        getattr(uts, f"set_{call}")("x" * 65)

    assert (f"set{call}", errno.EINVAL) == (caught.value.syscall, caught.value.errno)
