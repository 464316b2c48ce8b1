"""`process.oomScoreAdj`: whom the kernel kills first when memory runs out."""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import kernel_error
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.host import Host
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import Process


@record
class SetOomScoreAdj:
    """Set oom_score_adj of container init, from outside, where the right to lower it is."""

    value: int
    best_effort: bool
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        effort = " (best effort: rootless)" if self.best_effort else ""
        return f"set oom_score_adj to {self.value}{effort}"

    def apply(self, at: World) -> None:
        """Write it. See proc_pid_oom_score_adj(5): lowering needs CAP_SYS_RESOURCE."""
        path = f"/proc/{at.pid}/oom_score_adj"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, str(self.value).encode())
            finally:
                os.close(fd)
        except OSError as error:
            if self.best_effort and error.errno in {errno.EACCES, errno.EPERM}:
                return
            raise kernel_error(error.errno or 0, "write", path) from None


def steps(process: Process, host: Host) -> list[Step]:
    """Return the step of a process that sets its score."""
    if process.oom_score_adj is None:
        return []
    rootless = host.user_namespace or host.euid != 0
    return [SetOomScoreAdj(process.oom_score_adj, rootless, "process.oomScoreAdj")]
