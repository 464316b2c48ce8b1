"""Steps on cgroup files: make a cgroup, move container init into it, write limits.

Which cgroups and which values lives in `cgroup`, `cgroup_v1` and `cgroup_v2`.
"""

from __future__ import annotations

import errno
import os

from aisbx_runtime.oci.errors import Failure, KernelError, StepError, kernel_error, why_of
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import World

UNLIMITED = frozenset({"-1", "max"})
# What an unprivileged runtime without a delegated cgroup meets; engines rely on limits being
# ignored there (contract.md 8: podman rootless with the cgroupfs manager).
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})
# Another runtime may remove a shared parent between two of our mkdir calls.
_ATTEMPTS = 20

_SWAP_FILES = frozenset({"memory.memsw.limit_in_bytes", "memory.swap.max"})
_HINTS = {
    ("memory.limit_in_bytes", errno.EBUSY): "the limit is lower than what is in use: raise it",
    ("memory.memsw.limit_in_bytes", errno.EBUSY): "the limit is lower than what is in use: "
    "raise memory.swap, which counts memory and swap together",
    ("memory.limit_in_bytes", errno.EINVAL): "memory.swap counts memory and swap together: "
    "give it too, and not lower than memory.limit",
    ("memory.memsw.limit_in_bytes", errno.ENOENT): "boot with swapaccount=1, or drop memory.swap",
    ("memory.swap.max", errno.ENOENT): "boot with swapaccount=1, or drop memory.swap",
    ("cpu.rt_runtime_us", errno.ENOENT): "the kernel has no CONFIG_RT_GROUP_SCHED: drop the limit",
    ("cpu.rt_period_us", errno.ENOENT): "the kernel has no CONFIG_RT_GROUP_SCHED: drop the limit",
    ("cpu.rt_runtime_us", errno.EINVAL): "give the parent cgroup at least this realtime runtime",
    ("devices.deny", errno.EINVAL): "a cgroup with child cgroups cannot be given device rules: "
    "let linux.cgroupsPath name a cgroup of its own",
    ("devices.allow", errno.EINVAL): "a cgroup with child cgroups cannot be given device rules: "
    "let linux.cgroupsPath name a cgroup of its own",
    ("devices.allow", errno.EPERM): "the parent cgroup does not allow this device: allow it there",
    ("cgroup.procs", errno.ENOSPC): "give the parent cgroup cpuset.cpus and cpuset.mems",
    ("cgroup.procs", errno.EBUSY): "the cgroup has controllers enabled for its children: "
    "let linux.cgroupsPath name a cgroup without children",
}
_HINT_OF_ERRNO = {
    errno.ENOENT: "this kernel or the parent cgroup does not have this limit: drop it",
    errno.EINVAL: "the kernel refuses this value: see cgroups(7)",
    errno.ERANGE: "the kernel refuses this value: it is out of range",
    errno.EACCES: "the cgroup is not the runtime's to change: run it as root, or delegate it",
    errno.EPERM: "the cgroup is not the runtime's to change: run it as root, or delegate it",
    errno.EROFS: "the cgroup file system is mounted read-only: mount it read-write, or turn "
    "cgroups off with --cgroup-manager=disabled",
}


@record
class Setting:
    """One value for one file of a cgroup. `other` is tried when the kernel has no such file."""

    origin: str
    file: str
    value: str
    other: tuple[str, str] | None = None

    def limits(self) -> bool:
        """Tell whether this takes something from the container, so that it may not be dropped."""
        return self.value not in UNLIMITED


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
            if not (self.optional and error.errno in _NOT_OURS):
                raise _failure(
                    f"cannot make cgroup {self.path}", self.origin, error, hint=_hint("", error)
                ) from None


@record
class OpenCgroup:
    """Open the cgroup v2 that container init is born in."""

    origin: str
    path: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"open cgroup {self.path} for the birth of container init"

    def apply(self, at: World) -> None:
        """Open it; the fd ends with the runtime."""
        try:
            at.cgroup_fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise kernel_error(error.errno or 0, "open", self.path) from None


@record
class JoinCgroup:
    """Move container init into the container's cgroup of one hierarchy."""

    origin: str
    path: str
    optional: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"move container init into cgroup {self.path}"

    def apply(self, at: World) -> None:
        """Write its pid; a process that has one thread moves as a whole."""
        try:
            write_file(f"{self.path}/cgroup.procs", str(at.pid))
        except KernelError as error:
            if not (self.optional and error.errno in _NOT_OURS):
                raise _failure(
                    f"cannot move container init into cgroup {self.path}",
                    self.origin,
                    error,
                    hint=_hint("cgroup.procs", error),
                ) from None


@record
class WriteLimits:
    """Write one limit, or a few that bind each other, such as memory and memory with swap.

    The kernel refuses a value that contradicts a present one (EINVAL), so that raising and
    lowering need different orders: what is refused is tried again after the others.
    """

    origin: str
    directory: str
    settings: tuple[Setting, ...]
    optional: bool = False

    def describe(self) -> str:
        """Return one line, in the imperative."""
        values = " and ".join([f"{one.value} to {one.file}" for one in self.settings])
        return f"write {values} in {self.directory}".replace("\n", "; ")

    def apply(self, at: World) -> None:
        """Write them. Raises StepError that names the limit and what to do."""
        del at
        left = list(self.settings)
        while left:
            refused: list[tuple[Setting, KernelError]] = []
            for one in left:
                try:
                    write_setting(self.directory, one)
                except KernelError as error:
                    if error.errno != errno.EINVAL:
                        self._fail(one, error)
                    else:
                        refused.append((one, error))
            if len(refused) == len(left):
                self._fail(*refused[0])
                return
            left = [one for one, _ in refused]

    def _fail(self, one: Setting, error: KernelError) -> None:
        if self.optional and error.errno in _NOT_OURS:
            return
        raise _failure(
            f'cannot set {one.file} to "{one.value}"',
            one.origin,
            error,
            hint=_hint(one.file, error),
        )


@record
class RefuseBelowUsage:
    """Refuse a new memory limit that is below what is in use (memory.checkBeforeUpdate)."""

    origin: str
    path: str
    limit_bytes: int

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"check that {self.path} is not above {self.limit_bytes}"

    def apply(self, at: World) -> None:
        """Read the usage once: on v2 the limit itself would kill instead of failing."""
        del at
        used = int(read_file(self.path))
        if used > self.limit_bytes:
            raise StepError(
                f"the memory limit {self.limit_bytes} is below the {used} bytes in use",
                where=self.origin,
                hint="raise memory.limit",
            )


def read_file(path: str) -> str:
    """Return the text of a small cgroup file. Raises KernelError."""
    call = "open"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            call = "read"
            return os.read(fd, 65536).decode()
        finally:
            os.close(fd)
    except OSError as error:
        raise kernel_error(error.errno or 0, call, path) from None


def write_file(path: str, *values: str) -> None:
    """Write each value with one write(2): cgroup files take one per call. Raises KernelError."""
    call = "open"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            call = "write"
            for value in values:
                os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise kernel_error(error.errno or 0, call, path) from None


def write_setting(directory: str, one: Setting) -> None:
    """Write one limit. A missing file is no error when there is nothing to limit."""
    try:
        # Lines are keyed by device: io.max and others take one device per write.
        write_file(f"{directory}/{one.file}", *one.value.split("\n"))
    except KernelError as error:
        if error.syscall != "open" or error.errno != errno.ENOENT:
            raise
        if one.other is not None:
            write_file(f"{directory}/{one.other[0]}", one.other[1])
        elif one.limits() and not _cannot_swap(one):
            raise


def _cannot_swap(one: Setting) -> bool:
    # proc(5): without CONFIG_SWAP there is no /proc/swaps, and every limit of swap holds.
    return one.file in _SWAP_FILES and not os.path.exists("/proc/swaps")


def _retry_make(wanted: MakeCgroup, at: World) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _make(wanted, at)
        except KernelError as error:
            # A parent was there and is gone: its last other user removed it. Once more from the
            # top; at last the error is raised, since a missing mount point looks the same.
            if attempt == _ATTEMPTS or not _is_gone(error):
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
        if wanted.needed or wanted.offered:
            _enable(wanted, parent)
        made = _make_directory(directory, at)
        for file in wanted.inherited:
            _inherit(file, parent, directory)
        if index == len(names) and not made and _has_processes(directory):
            raise StepError(
                f"cgroup {directory} is not empty",
                where=wanted.origin,
                hint="end the processes in it, or let linux.cgroupsPath name another",
            )


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


def _enable(wanted: MakeCgroup, parent: str) -> None:
    path = f"{parent}/cgroup.subtree_control"
    enabled = read_file(path).split()
    missing = [name for name in (*wanted.needed, *wanted.offered) if name not in enabled]
    if not missing:
        return
    try:
        write_file(path, " ".join([f"+{name}" for name in missing]))
    except KernelError as error:
        if _is_gone(error):
            raise
        # One controller that cannot be had refuses the whole write: take them one by one.
        for name in missing:
            _enable_one(wanted, path, name)


def _enable_one(wanted: MakeCgroup, path: str, name: str) -> None:
    try:
        write_file(path, f"+{name}")
    except KernelError as error:
        if name not in wanted.needed or (wanted.optional and error.errno in _NOT_OURS):
            return
        raise _failure(
            f'cannot enable the "{name}" controller for {wanted.path}',
            wanted.origin,
            error,
            hint=_ENABLE_HINTS.get(error.errno or 0, ""),
        ) from None


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
    return any(read_file(f"{below}/cgroup.procs") for below, _, _ in os.walk(directory))


def _failure(what: str, origin: str, error: KernelError, *, hint: str) -> Failure:
    return StepError(what, where=origin, why=why_of(error), hint=hint)


def _hint(file: str, error: KernelError) -> str:
    number = error.errno or 0
    return _HINTS.get((file, number), _HINT_OF_ERRNO.get(number, ""))
