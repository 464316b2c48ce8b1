"""`linux.seccomp`: the compiled filter, ready for the stub. Compiling lives in `oci.seccomp`."""

from __future__ import annotations

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Process, Seccomp, Spec


@record
class LoadFilter:
    """Get the compiled filter, from the cache or from libseccomp, before anything is born."""

    seccomp: Seccomp
    cache_dir: str
    machine: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        rules = sum([len(rule.names) for rule in self.seccomp.syscalls])
        return f"load the seccomp filter: {self.seccomp.default_action}, {rules} system calls named"

    def apply(self, at: World) -> None:
        """Put the program into a memfd that container init hands to the stub."""
        from aisbx_runtime.oci.seccomp import cache

        program = cache.program(self.seccomp, cache_dir=self.cache_dir, machine=self.machine)
        at.filter_program = program
        at.filter_fd = os.memfd_create("aisbx-filter", os.MFD_CLOEXEC)
        os.write(at.filter_fd, program)
        os.lseek(at.filter_fd, 0, os.SEEK_SET)


def host_steps(spec: Spec, host: Host, cache_dir: str) -> list[Step]:
    """Return how the runtime gets the filter."""
    seccomp = spec.linux.seccomp
    if seccomp is None:
        return []
    return [LoadFilter(seccomp, cache_dir, host.machine, "linux.seccomp")]


def flags_of(spec: Spec) -> int | None:
    """Return the seccomp(2) flags of the filter, None when there is no filter."""
    if spec.linux.seccomp is None:
        return None
    from aisbx_runtime.oci import seccomp

    return seccomp.flags_of(spec.linux.seccomp)


def stub_installs(spec: Spec, process: Process) -> bool:
    """Tell whether the stub installs the filter, the last thing before execve."""
    return spec.linux.seccomp is not None and process.no_new_privileges
