"""Session keyrings. See keyctl(2), session-keyring(7)."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.kernel.call import syscall

KEYCTL_JOIN_SESSION_KEYRING = 1  # include/uapi/linux/keyctl.h


def join_session_keyring(name: str) -> None:
    """Give this process a session keyring of its own. ENOSYS: no keyrings; EDQUOT: too many."""
    syscall("keyctl", KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name), path=name)
