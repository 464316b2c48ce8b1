"""Compile in a child, which can be ended. Only on a cache miss.

libseccomp 2.5.4 loops forever over some profiles, in C and with the interpreter's lock held: two
rules for one call that begin with the same NE, LT, LE, GE or GT and go on differently. Nothing in
this process could interrupt that, and create must undo what it has made.
"""

from __future__ import annotations

import select
import time

from aisbx_runtime.oci import jsontext
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import Failure, HostError, SpecError, from_wire, to_wire
from aisbx_runtime.oci.kernel.process import PR_SET_PDEATHSIG, clone3, prctl
from aisbx_runtime.oci.kernel.signal import SIGKILL, reap, send_signal
from aisbx_runtime.oci.seccomp import compiler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from aisbx_runtime.oci.spec.model import Seccomp

DEADLINE_S = 10.0  # a long profile takes 0.1
_PROGRAM, _FAILURE = b"P", b"F"


def compiled(seccomp: Seccomp) -> tuple[bytes, str]:
    """Return the program of a profile, and the file of libseccomp. Raises SpecError, HostError."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid, pidfd = clone3()
    if pid == 0:
        os.close(read_fd)
        _child(seccomp, write_fd, parent)
    os.close(write_fd)
    try:
        said = _read(read_fd, time.monotonic() + DEADLINE_S)
    finally:
        os.close(read_fd)
        # After a whole answer there is nothing left that it could do.
        send_signal(pidfd, SIGKILL)
        reap(pidfd)
        os.close(pidfd)
    return _result(said)


def _child(seccomp: Seccomp, write_fd: int, parent: int) -> NoReturn:
    try:
        # A create that is killed takes it along.
        prctl(PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() == parent:
            _write(write_fd, _answer(seccomp))
    finally:
        os._exit(0)


def _answer(seccomp: Seccomp) -> bytes:
    try:
        program = compiler.program_of(seccomp)
        return b"\0".join([_PROGRAM, os.fsencode(compiler.library_path()), program])
    except Failure as failure:
        told = failure
    except Exception as error:  # noqa: BLE001  (the child has nobody else to tell)
        told = HostError("cannot compile linux.seccomp", why=f"{type(error).__name__}: {error}")
    return b"\0".join([_FAILURE, jsontext.dump(to_wire(told)).encode()])


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _read(fd: int, deadline: float) -> bytes:
    """Return all that the child says, or what has come until the deadline."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    said: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                return b"".join(said)
            said.append(chunk)
    raise SpecError(
        f"linux.seccomp: libseccomp has not compiled the filter within {DEADLINE_S:g} s",
        where="config.json",
        hint="libseccomp before 2.6 loops over rules for one call that begin with the same"
        " condition and go on differently: make them one, or upgrade it",
    )


def _result(said: bytes) -> tuple[bytes, str]:
    kind, _, rest = said.partition(b"\0")
    if kind == _PROGRAM:
        library, _, program = rest.partition(b"\0")
        return program, os.fsdecode(library)
    if kind == _FAILURE:
        message = jsontext.parse(rest.decode())
        raise from_wire(message if jsontext.is_object(message) else {})
    raise HostError(
        "linux.seccomp: libseccomp ended the process that compiles the filter",
        hint="upgrade libseccomp, or look for the rule that it does not take",
    )
