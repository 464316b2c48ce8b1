"""Processes by pidfd or by start time, without ctypes: what every verb loads. See pidfd_open(2)."""

from __future__ import annotations

import _signal
import errno

from aisbx_runtime.oci import system as os

# signal(7); the module `signal` makes an enum of all of them at every start.
SIGKILL = 9


def send_signal(pidfd: int, signal: int) -> bool:
    """Send `signal`; tell whether the process was still there. Raises OSError EPERM, EINVAL."""
    try:
        _signal.pidfd_send_signal(pidfd, signal)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return False
        raise
    return True


def end(pidfd: int, most_ms: int) -> bool:
    """Kill a process and wait for its end; tell whether that came within `most_ms`."""
    import select

    send_signal(pidfd, SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(most_ms))


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


def is_alive(pid: int, start_time: int) -> bool:
    """Tell whether this very process is still there; a zombie is not (its status is its end)."""
    # create notes -1 of an init that died before its start time could be read.
    return pid > 0 and 0 <= start_time == start_time_of(pid)


def start_time_of(pid: int) -> int:
    """Return the start time of a live process in clock ticks after boot, -1 if it has ended.

    pid and start time together name a process for good. See proc_pid_stat(5), field 22.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        text = os.read(fd, 4096)
    except ProcessLookupError:
        return -1
    finally:
        os.close(fd)
    # The name of the process may hold spaces and parentheses: count from its last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return -1 if fields[0] in {b"Z", b"X"} else int(fields[19])
