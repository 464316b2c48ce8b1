"""The container's terminal: a pty of its own devpts, /dev/console on it, stdio moved to it."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.kernel import mount, terminal
from aisbx_runtime.oci.kernel.mount import AT_EMPTY_PATH, OPEN_TREE_CLONE
from aisbx_runtime.oci.kernel.path import make_file_in_root, open_in_root
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Process


@record
class OpenTerminal:
    """Open a pty, hand its master end to the caller and make it this session's terminal.

    Not the session's when it is to be that of a later one: `controlling`.
    """

    size: tuple[int, int] | None
    console: bool
    controlling: bool
    uid: int
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        shown = f" of {self.size[0]} rows and {self.size[1]} columns" if self.size else ""
        where = ", bind it at /dev/console" if self.console else ""
        return f"open a terminal{shown}{where}, hand its master end to the caller"

    def apply(self, at: World) -> None:
        """Open the container's ptmx; the peer comes by ioctl and never by name (CVE-2025-52565)."""
        flags = os.O_RDWR | os.O_NOCTTY
        master_fd = open_in_root(at.root_fd, "/dev/pts/ptmx", flags)
        slave_fd = terminal.unlock_and_open_peer(master_fd)
        os.fchown(slave_fd, self.uid, -1)
        if self.size is not None:
            terminal.set_size(slave_fd, *self.size)
        if self.console:
            _bind_console(at.root_fd, slave_fd)
        at.send_terminal(master_fd, f"/dev/pts/{terminal.pty_number(master_fd)}")
        os.close(master_fd)
        if self.controlling:
            terminal.make_controlling(slave_fd)
        for fd in (0, 1, 2):
            os.dup2(slave_fd, fd)
        os.close(slave_fd)


def _bind_console(root_fd: int, slave_fd: int) -> None:
    target_fd = make_file_in_root(root_fd, "/dev/console")
    tree_fd = mount.open_tree(slave_fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH)
    mount.move_mount(tree_fd, target_fd, path="/dev/console")
    os.close(tree_fd)
    os.close(target_fd)


def steps(process: Process, *, console: bool, controlling: bool = True) -> list[Step]:
    """Return the terminal step of a process that asks for one."""
    if not process.terminal:
        return []
    size, uid = process.console_size, process.user.uid
    return [OpenTerminal(size, console, controlling, uid, "process.terminal")]
