"""Being in front of a process of the container: signals go to it, its end is our exit code."""

from __future__ import annotations

import _signal
import select

from aisbx_runtime.oci.kernel.signal import reap, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from aisbx_runtime.oci.console import Relay

# Not forwarded: what is about this process itself. SIGWINCH is, unless a relay takes it.
_OWN = frozenset(
    {
        _signal.SIGCHLD, _signal.SIGURG, _signal.SIGPIPE, _signal.SIGKILL, _signal.SIGSTOP,
        _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT,
        _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGTSTP,
    }
)  # fmt: skip
_LAST_CLASSIC = 31


def forward_signals(pidfd: int) -> None:
    """Send on every signal that comes in: BuildKit and CRI-O signal us, not the container."""

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        send_signal(pidfd, number)

    for number in range(1, _LAST_CLASSIC + 1):
        if number not in _OWN:
            _signal.signal(number, forward)


def wait(pidfd: int, relay: Relay | None) -> int:
    """Wait for our child behind `pidfd`; return its exit code, 128 + signal when it was killed."""
    if relay is None:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        # PEP 475: goes on after a signal has been forwarded.
        poll.poll()
    else:
        relay.start()
        try:
            relay.run(pidfd)
        finally:
            relay.stop()
    status = reap(pidfd)
    return status if status >= 0 else 128 - status
