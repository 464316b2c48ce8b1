"""Signals by pidfd, without ctypes: what `kill` and `delete` load. See pidfd_send_signal(2)."""

from __future__ import annotations

import _signal
import errno

from aisbx_runtime.oci import system as os


def send_signal(pidfd: int, signal: int) -> bool:
    """Send `signal`; tell whether the process was still there. Raises OSError EPERM, EINVAL."""
    try:
        _signal.pidfd_send_signal(pidfd, signal)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return False
        raise
    return True


def reap_helper(pid: int) -> None:
    """Wait for the helper of `launch`: no process of the runtime's may outlive it."""
    if pid:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            # Reaped before.
            return


def reap(pidfd: int) -> int:
    """Wait for the child behind `pidfd`; return its exit status, or minus the signal that ended it.

    See waitid(2), P_PIDFD.
    """
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert result is not None  # noqa: S101  (only with WNOHANG)
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
