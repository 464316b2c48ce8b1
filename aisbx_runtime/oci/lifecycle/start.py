"""start: let the process of a created container run, and know that it does."""

from __future__ import annotations

import _socket
import errno

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.container import CREATED, START_SOCKET
from aisbx_runtime.oci.errors import (
    NO_SUCH_INTERPRETER,
    CommandError,
    Failure,
    HookError,
    StateError,
    why_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.container import Container, Facts

GO = b"g"


def main(call: Call) -> int:
    """Start a container and return when its program runs."""
    container = containers.load(call.root(), call.values.words[0])
    try:
        start(container)
    except HookError as error:
        _undo(container, call, error)
        raise
    return 0


def _undo(container: Container, call: Call, error: HookError) -> None:
    # runtime.md 1.3, lifecycle 7 and 9: stop it, undo what create did, run the poststop hooks.
    from aisbx_runtime.oci import report
    from aisbx_runtime.oci.lifecycle import attempt, delete

    try:
        for sentence in delete.destroy(container, container.facts()):
            report.warning(call.options, sentence)
    except (OSError, Failure) as second:
        attempt.note_leftover(error, container.path, second)


def start(container: Container) -> None:
    """Start a created container.

    Raises StateError in any other state, Failure if execve fails, HookError if a hook does: then
    the caller destroys the container.
    """
    # A second start waits here and then reads `running`.
    container.lock()
    facts = container.facts()
    status = containers.status_of(container, facts)
    if status != CREATED:
        raise StateError(
            f"cannot start container {container.id} that is {status}",
            hint="only a created container can be started"
            if facts.flag("complete")
            else "its create did not finish: delete it",
        )
    connection = _connect(container)
    # From here on no state says `created` again (contract.md 5: buildah gives up on it).
    os.unlink(START_SOCKET, dir_fd=container.dir_fd)
    say_go(connection, facts.number("pid"), facts.text("lsm"))
    said = read_to_end(connection)
    connection.close()
    if said:
        raise failure_of(said, "process.args[0]")
    if facts.mapping("hooks").get("poststart"):
        _run_poststart(container, facts)


def _connect(container: Container) -> _socket.socket:
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        # By the fd of the directory: a path of a socket may be 107 bytes long only.
        socket.connect(f"/proc/self/fd/{container.dir_fd}/{START_SOCKET}")
    except OSError as error:
        raise Failure(
            f"cannot reach init of container {container.id}",
            why=f"connect: {errno.errorcode.get(error.errno or 0, '')}",
            hint="it may have been killed: see aisbx-runtime state",
        ) from None
    return socket


def say_go(connection: _socket.socket, pid: int, lsm: str) -> None:
    """Tell the stub, which is process `pid`, to execute its program; `lsm` confines it, or is "".

    A stub that has a label to write is given the directory to write it in: the container's own
    procfs may be a trap (CVE-2025-52881).
    """
    if not lsm:
        connection.send(GO)
        return
    from aisbx_runtime.oci.lifecycle import attributes

    fd = attributes.open_directory(pid, lsm)
    control = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))]
    connection.sendmsg([GO], control)
    os.close(fd)


def read_to_end(connection: _socket.socket) -> str:
    """Return what the stub says until its end of the connection is closed."""
    # execve closes the other end: nothing read means that the program runs.
    said = b""
    while chunk := connection.recv(4096):
        said += chunk
    return said.decode(errors="replace")


def failure_of(said: str, where: str) -> Failure:
    """Return what the stub reports, `SYSCALL ERRNO`, or init of its startContainer hooks."""
    call, _, rest = said.partition(" ")
    if call == "hook" or not rest.isdigit():
        return HookError(rest) if call == "hook" else Failure(said)
    name = errno.errorcode.get(int(rest), rest)
    if call == "execve" and name in {"ENOENT", "ENOTDIR"}:
        # create has seen the file: what is missing is its interpreter.
        return CommandError(
            NO_SUCH_INTERPRETER,
            where=where,
            hint="look at the first line of the script, or at the dynamic loader of the program",
        )
    if call == "label":
        return Failure(
            "cannot confine the program with its LSM label",
            where="process",
            why=f"write: {name}",
            hint="look at apparmorProfile or selinuxLabel, and at the audit log of the kernel",
        )
    hint = {
        "ENOEXEC": "the program is not for this machine, or a script without #!",
        "E2BIG": "arguments and environment are too large",
    }.get(name, "")
    return Failure("cannot execute the program", where=where, why=f"{call}: {name}", hint=hint)


def _run_poststart(container: Container, facts: Facts) -> None:
    from aisbx_runtime.oci import hooks, jsontext
    from aisbx_runtime.oci.lifecycle import bundle

    # A program that has ended meanwhile was running all the same.
    state = containers.state_of(container, facts, status=containers.RUNNING)
    text = jsontext.dump(state).encode()
    try:
        for hook in bundle.parsed(container.read(containers.CONFIG)).hooks.poststart:
            hooks.run("poststart", hook, text, facts.text("bundle"))
    except OSError as error:
        raise HookError("cannot run the poststart hooks", why=why_of(error)) from None
    except KeyboardInterrupt:
        raise HookError("interrupted while the poststart hooks ran") from None
