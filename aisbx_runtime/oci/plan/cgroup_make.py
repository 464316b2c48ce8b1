"""The step that makes a cgroup, from the top of its hierarchy down. Its limits: `cgroup_steps`."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, StepError, kernel_error
from aisbx_runtime.oci.plan.cgroup_steps import NOT_OURS, failed, hint_for, read_file, write_file
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import World

# Another runtime may remove a shared parent between two of our mkdir calls.
_ATTEMPTS = 100


@record
class MakeCgroup:
    """Make the container's cgroup in one hierarchy, and what is missing above it.

    `needed` controllers must, `offered` ones may be enabled on the way down (v2); the files that
    are `inherited` are copied from the parent while empty (v1 cpuset). Raises StepError when the
    cgroup has processes. With `optional` a runtime without permission makes none.
    """

    origin: str
    mount_point: str
    path: str
    needed: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()
    optional: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        enabled = " ".join([f"+{name}" for name in self.needed])
        return f"make cgroup {self.path}{f' with {enabled}' if enabled else ''}"

    def apply(self, at: World) -> None:
        """Make it, from the top down."""
        try:
            _retry_make(self, at)
        except KernelError as error:
            if not (self.optional and error.errno in NOT_OURS):
                raise failed(
                    f"cannot make cgroup {self.path}", self.origin, error, hint=hint_for("", error)
                ) from None


def _retry_make(wanted: MakeCgroup, at: World) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _make(wanted, at)
        except KernelError as error:
            # A parent was there and is gone: its last other user removed it. Once more from the
            # top, unless it is the mount point that is missing.
            once_more = _is_gone(error) and os.path.isdir(wanted.mount_point)
            if attempt == _ATTEMPTS or not once_more:
                raise
        else:
            return


def _is_gone(error: KernelError) -> bool:
    """Tell whether the cgroup was removed: before its file was opened, or after (ENODEV)."""
    missing = error.errno == errno.ENOENT and error.syscall in {"open", "mkdir"}
    return missing or error.errno == errno.ENODEV


def _make(wanted: MakeCgroup, at: World) -> None:
    directory = wanted.mount_point
    names = wanted.path.removeprefix(wanted.mount_point).strip("/").split("/")
    for index, name in enumerate(names, 1):
        parent, directory = directory, f"{directory.rstrip('/')}/{name}"
        whole = _enable(wanted, parent)
        made = _make_directory(directory, at)
        if not whole:
            _stay_valid(directory)
        for file in wanted.inherited:
            _inherit(file, parent, directory)
        if index < len(names) or made:
            continue
        refuse_used(directory, wanted.origin)
        _make_anew(directory, at)
        if not whole:
            _stay_valid(directory)
        for file in wanted.inherited:
            _inherit(file, parent, directory)


def refuse_used(directory: str, origin: str) -> None:
    """Refuse a cgroup that is there and frozen, or has processes. Raises StepError."""
    if _is_frozen(directory):
        # Container init would stop for ever in the moment it joins.
        raise StepError(
            # runc's words
            f"container's cgroup unexpectedly frozen: {directory}",
            where=origin,
            hint="thaw it, or let linux.cgroupsPath name another",
        )
    if os.path.isdir(directory) and _has_processes(directory):
        raise StepError(
            f"cgroup {directory} is not empty",
            where=origin,
            hint="end the processes in it, or let linux.cgroupsPath name another",
        )


def _make_anew(directory: str, at: World) -> None:
    """Replace an empty cgroup that somebody has left: its limits and its past are not ours.

    One that cgroup.kill was ever written to kills whoever is born in it (seen on Linux 6.18:
    clone3 compares the kill_seq of the caller's cgroup with that of the target).
    """
    try:
        os.rmdir(directory)
    except OSError:
        # It has cgroups below, or has become somebody's: then it is used as it is.
        return
    _make_directory(directory, at)


def _is_frozen(directory: str) -> bool:
    # Of v1's freezer, of v2; in other hierarchies neither is there.
    for name, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        path = f"{directory}/{name}"
        if os.path.exists(path):
            return read_file(path).strip() != thawed
    return False


def _make_directory(path: str, at: World) -> bool:
    if os.path.isdir(path):
        return False
    at.own("cgroup", path)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        # Made by another runtime since we looked.
        return False
    except OSError as error:
        raise kernel_error(error.errno or 0, "mkdir", path) from None
    return True


def _enable(wanted: MakeCgroup, parent: str) -> bool:
    """Enable the controllers for the children of `parent`; tell whether it gives all of them."""
    if not (wanted.needed or wanted.offered):
        return True
    path = f"{parent}/cgroup.subtree_control"
    enabled = read_file(path).split()
    missing = [name for name in (*wanted.needed, *wanted.offered) if name not in enabled]
    if not missing:
        return True
    if _has_own_processes(parent):
        _leave_disabled(wanted, path, missing)
        return False
    try:
        write_file(path, " ".join([f"+{name}" for name in missing]))
    except KernelError as error:
        if _is_gone(error):
            raise
        # One controller that cannot be had refuses the whole write: take them one by one.
        for name in missing:
            _enable_one(wanted, path, name)
        return False
    return True


def _stay_valid(directory: str) -> None:
    """Let processes enter a cgroup below a threaded one: cgroups(7), "thread mode".

    The kernel makes it "domain invalid". It has no memory nor io of its own, which then nobody
    has asked for: they cannot be enabled in a threaded parent.
    """
    path = f"{directory}/cgroup.type"
    if read_file(path).strip() == "domain invalid":
        write_file(path, "threaded")


def enable_controller(top: str, path: str, name: str) -> None:
    """Enable a controller for a cgroup, from `top` above it down. Raises KernelError."""
    directory = top
    for part in path.removeprefix(top).strip("/").split("/"):
        file = f"{directory}/cgroup.subtree_control"
        if name not in read_file(file).split():
            write_file(file, f"+{name}")
        directory = f"{directory}/{part}"


def _has_own_processes(directory: str) -> bool:
    # The root is exempt from "no internal processes"; it is the one without cgroup.type.
    if not os.path.exists(f"{directory}/cgroup.type"):
        return False
    try:
        return bool(read_file(f"{directory}/cgroup.procs"))
    except KernelError as error:
        # A threaded cgroup does not list them, and may give cpu, cpuset and pids all the same.
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False


def _leave_disabled(wanted: MakeCgroup, path: str, missing: list[str]) -> None:
    # The kernel would enable cpu and pids here: the parent becomes the root of a threaded
    # subtree, and the container's cgroup "domain invalid", which no process can enter.
    needed = [name for name in missing if name in wanted.needed]
    if needed and not wanted.optional:
        raise _cannot_enable(wanted, needed[0], kernel_error(errno.EBUSY, "write", path))


def _enable_one(wanted: MakeCgroup, path: str, name: str) -> None:
    try:
        write_file(path, f"+{name}")
    except KernelError as error:
        if name not in wanted.needed or (wanted.optional and error.errno in NOT_OURS):
            return
        raise _cannot_enable(wanted, name, error) from None


def _cannot_enable(wanted: MakeCgroup, name: str, error: KernelError) -> StepError:
    return failed(
        f'cannot enable the "{name}" controller for {wanted.path}',
        wanted.origin,
        error,
        hint=_ENABLE_HINTS.get(error.errno or 0, ""),
    )


_ENABLE_HINTS = {
    # cgroups(7), "no internal processes".
    errno.EBUSY: "the parent cgroup has processes of its own: move them to a child, or let "
    "linux.cgroupsPath name a cgroup below another parent",
    errno.ENOENT: "the controller is not delegated to the parent cgroup: enable it in the "
    "cgroup.subtree_control files above",
    errno.EACCES: "the cgroup is not the runtime's to change: run it as root, or delegate it",
    errno.EPERM: "the cgroup is not the runtime's to change: run it as root, or delegate it",
    errno.EROFS: "the cgroup file system is mounted read-only: mount it read-write",
    errno.EOPNOTSUPP: "the parent cgroup is threaded: use another parent",
}


def _inherit(file: str, parent: str, directory: str) -> None:
    # cpuset(7): a process cannot enter a v1 cpuset whose cpus or mems are empty (ENOSPC).
    if not read_file(f"{directory}/{file}").strip():
        write_file(f"{directory}/{file}", read_file(f"{parent}/{file}").strip() or "\n")


def _has_processes(directory: str) -> bool:
    try:
        return "populated 1" in read_file(f"{directory}/cgroup.events")
    except KernelError as error:
        # A v1 cgroup has no such file: look at it and at each below.
        if error.errno != errno.ENOENT:
            raise
    return bool(read_file(f"{directory}/cgroup.procs")) or any(
        _has_processes(f"{directory}/{name}")
        for name in os.listdir(directory)
        if os.path.isdir(f"{directory}/{name}")
    )
