"""What a check finds, and a child to try things in."""

from __future__ import annotations

import select

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import why_of
from aisbx_runtime.oci.kernel import mount
from aisbx_runtime.oci.kernel.namespaces import CLONE_NEWUSER
from aisbx_runtime.oci.kernel.process import clone3
from aisbx_runtime.oci.kernel.signal import SIGKILL, reap, send_signal
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OK, LIMITED, MISSING = "ok", "limited", "missing"
_TIMEOUT_S = 10.0
_ANSWER_BYTES = 4096


@record
class Check:
    """One line of the doctor.

    found: what is there. means: what follows when it is not ok. remedy: what to do, where one
    command does not do it. command: what to type as root. needed: without it no container runs
    here at all.
    """

    name: str
    title: str
    state: str
    found: str
    means: str = ""
    remedy: str = ""
    command: str = ""
    needed: bool = False


def boot_with(parameter: str) -> str:
    """Return the command that adds a parameter to the kernel's command line, on Debian."""
    return (
        f"""sed -i 's/^GRUB_CMDLINE_LINUX="/&{parameter} /' /etc/default/grub"""
        " && update-grub && reboot"
    )


def read(path: str) -> str | None:
    """Return the stripped text of a small file, None when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # Missing in this kernel, or not ours to read: both are an answer.
        return None
    try:
        return os.read(fd, 65536).decode(errors="replace").strip()
    except OSError:
        return None
    finally:
        os.close(fd)


def why_not(action: Callable[[], None], flags: int = 0) -> str:
    """Try `action` in a child born in new namespaces; return "" or why it failed.

    With CLONE_NEWUSER the child is root of its user namespace, with its caller's id alone.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    uid, gid = os.geteuid(), os.getegid()
    try:
        pid, pidfd = clone3(flags)
    except OSError as error:
        os.close(read_fd)
        os.close(write_fd)
        return why_of(error)
    if pid == 0:
        _answer(action, write_fd, (uid, gid) if flags & CLONE_NEWUSER else None)
    os.close(write_fd)
    try:
        if not select.select([read_fd], [], [], _TIMEOUT_S)[0]:
            return "no answer in 10 s"
        said = os.read(read_fd, _ANSWER_BYTES).decode(errors="replace")
    finally:
        send_signal(pidfd, SIGKILL)
        reap(pidfd)
        os.close(pidfd)
        os.close(read_fd)
    return said.removeprefix("+") if said else "the child that tried it died"


def _answer(action: Callable[[], None], write_fd: int, ids: tuple[int, int] | None) -> None:
    said = "the attempt failed"
    try:
        if ids is not None:
            map_own_ids(*ids)
        action()
        said = ""
    except OSError as error:
        said = why_of(error)
    finally:
        # A plus, since no bytes at all mean that the child died.
        os.write(write_fd, f"+{said}".encode(errors="replace"))
        os._exit(0)


def map_own_ids(uid: int, gid: int) -> None:
    """Map the caller's ids to root of the new user namespace that this process is in."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def nothing() -> None:
    """Try nothing: to be born is what is tried."""


def keep_mounts_private() -> None:
    """Cut the mounts of this new mount namespace off from those of the machine."""
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    mount.mount_setattr(fd, propagation=mount.MS_PRIVATE, recursive=True)
    os.close(fd)


def new_file_system(fs_type: str, options: tuple[tuple[str, str], ...] = ()) -> int:
    """Return an fd of a new, detached file system; an option without value is a flag."""
    context_fd = mount.fsopen(fs_type)
    for key, value in options:
        if value:
            mount.fsconfig_string(context_fd, key, value)
        else:
            mount.fsconfig_flag(context_fd, key)
    mount.fsconfig_create(context_fd)
    tree_fd = mount.fsmount(context_fd, 0)
    os.close(context_fd)
    return tree_fd
