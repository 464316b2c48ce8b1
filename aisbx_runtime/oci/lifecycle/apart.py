"""Steps that a child of the runtime carries out where the runtime itself must not go.

`mounts` and `restore` have such. What container init does, which stays, is `init`'s.
"""

from __future__ import annotations

import sys

from aisbx_runtime.oci import channel
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.channel import InitDied
from aisbx_runtime.oci.errors import Failure, StepError, hint_of, why_of
from aisbx_runtime.oci.kernel.process import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, clone3, prctl
from aisbx_runtime.oci.kernel.signal import SIGKILL, reap, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from aisbx_runtime.oci.channel import InitSide
    from aisbx_runtime.oci.plan.step import Step, World

    # Undo these steps, after a failure to which it adds what stays.
    Undo = Callable[[list[Step], Failure], None]


def carry_out(steps: Sequence[Step], at: World, *, died: Failure, undo: Undo | None = None) -> None:
    """Let a child carry out the steps; it is gone when this returns.

    Raises the Failure of a step, after `undo` of those before it; `died` if the child was killed.
    """
    if not steps:
        return
    here, there = channel.pair()
    pid, pidfd = clone3()
    if pid == 0:
        here.close()
        _be_apart(steps, at, there, undo)
    there.close()
    try:
        here.expect("ready")
    except InitDied:
        raise died from None
    finally:
        here.close()
        send_signal(pidfd, SIGKILL)
        reap(pidfd)
        os.close(pidfd)


def _be_apart(steps: Sequence[Step], at: World, gate: InitSide, undo: Undo | None) -> NoReturn:
    step = steps[0]
    done: list[Step] = []
    try:
        prctl(PR_SET_PDEATHSIG, SIGKILL)
        # /proc/PID/exe and the memory of this child are the host's (CVE-2019-5736), and nothing
        # is imported from where it goes (security.md 2.3).
        prctl(PR_SET_DUMPABLE, 0)
        sys.meta_path.clear()
        sys.path.clear()
        os.umask(0)
        for step in steps:
            step.apply(at)
            # prctl(2): a change of ids has cleared both.
            prctl(PR_SET_PDEATHSIG, SIGKILL)
            prctl(PR_SET_DUMPABLE, 0)
            done.append(step)
        gate.ready()
    except BaseException as error:  # noqa: BLE001  (nothing may leave this child)
        failure = failure_of(step, error)
        if undo is not None:
            undo(done, failure)
        gate.failed(failure)
    finally:
        os._exit(0)


def failure_of(step: Step, error: BaseException) -> Failure:
    """Return the error of a step as what is reported."""
    if isinstance(error, Failure):
        error.where = error.where or step.origin
        return error
    why = f"{type(error).__name__}: {error}"
    hint = "this is a defect of the runtime: report it"
    if isinstance(error, OSError):
        why, hint = why_of(error), hint_of(error)
    return StepError(f"cannot {step.describe()}", where=step.origin, why=why, hint=hint)
