"""Session keyrings."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import KernelError
from aisbx_runtime.oci.kernel import keyring
from tests.oci.forked import forked

pytestmark = pytest.mark.root


def session() -> str:
    with open("/proc/keys") as lines:
        return next(line.split()[8] for line in lines if "keyring" in line and "_test" in line)


@forked
def test_a_process_gets_a_keyring_of_the_name_it_asked_for():
    try:
        keyring.join_session_keyring("_aisbx_test")
    except KernelError as error:
        assert "keyctl" == error.syscall  # noqa: PT017
        pytest.skip(f"no keyrings here: {error.strerror}")
    try:
        found = session()
    except FileNotFoundError:
        pytest.skip("no /proc/keys here")

    assert "_aisbx_test:" == found
