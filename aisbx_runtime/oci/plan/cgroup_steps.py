"""Steps on cgroup files: move container init into a cgroup, write limits.

Making cgroups lives in `cgroup_make`; which cgroups and which values in `cgroup`, `cgroup_v1` and
`cgroup_v2`.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import KernelError, StepError, kernel_error, why_of
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import World

UNLIMITED = frozenset({"-1", "max"})
# What an unprivileged runtime without a delegated cgroup meets; engines rely on limits being
# ignored there (contract.md 8: podman rootless with the cgroupfs manager).
NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})
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
    ("cpuset.cpus", errno.EACCES): "the parent cgroup does not have all of these CPUs",
    ("cpuset.mems", errno.EACCES): "the parent cgroup does not have all of these memory nodes",
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
            if not (self.optional and error.errno in NOT_OURS):
                raise failed(
                    f"cannot move container init into cgroup {self.path}",
                    self.origin,
                    error,
                    hint=hint_for("cgroup.procs", error),
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
        if self.optional and error.errno in NOT_OURS:
            return
        raise failed(
            f'cannot set {one.file} to "{one.value}"',
            one.origin,
            error,
            hint=hint_for(one.file, error),
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


def failed(what: str, origin: str, error: KernelError, *, hint: str) -> StepError:
    """Return the failure of a step on cgroup files."""
    return StepError(what, where=origin, why=why_of(error), hint=hint)


def hint_for(file: str, error: KernelError) -> str:
    """Return what to do about a write to `file` that failed."""
    number = error.errno or 0
    return _HINTS.get((file, number), _HINT_OF_ERRNO.get(number, ""))
