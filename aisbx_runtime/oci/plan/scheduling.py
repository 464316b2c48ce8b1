"""`process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`.

Imported only where one of them is asked for. Memory nodes are in `memory_policy`.
"""

from __future__ import annotations

from aisbx_runtime.oci.kernel import scheduling as kernel
from aisbx_runtime.oci.record import record
from aisbx_runtime.oci.spec import cpu_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import IoPriority, Process, Scheduler

# include/uapi/linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,  # reserved: no kernel has it, and says so
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
# include/uapi/linux/ioprio.h
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
# The kernel cuts a longer mask to the CPUs that there can be, and those to the cpuset.
_EVERY_CPU = range(8192)


@record
class SetScheduler:
    """Set the scheduling policy, while the right to raise it is there.

    Of a child from outside where the process itself still has to fork (`from_outside`): a policy
    may end with the fork (SCHED_FLAG_RESET_ON_FORK) or forbid it (SCHED_DEADLINE), sched(7).
    """

    scheduler: Scheduler
    from_outside: bool
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        one = self.scheduler
        numbers = (
            ("nice", one.nice),
            ("priority", one.priority),
            ("runtime", one.runtime),
            ("deadline", one.deadline),
            ("period", one.period),
        )
        shown = [f"{name} {number}" for name, number in numbers if number]
        return f"schedule by {', '.join([one.policy, *shown, *one.flags])}"

    def apply(self, at: World) -> None:
        """See sched_setattr(2)."""
        one = self.scheduler
        kernel.sched_setattr(
            POLICIES[one.policy],
            pid=at.pid if self.from_outside else 0,
            flags=sum({FLAGS[name] for name in one.flags}),
            nice=one.nice,
            priority=one.priority,
            runtime_ns=one.runtime,
            deadline_ns=one.deadline,
            period_ns=one.period,
        )


@record
class SetIoPriority:
    """Set the I/O class and level, while the right to raise it is there."""

    priority: IoPriority
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"set the I/O priority to {self.priority.class_} {self.priority.priority}"

    def apply(self, at: World) -> None:
        """See ioprio_set(2)."""
        del at
        kernel.ioprio_set(IO_CLASSES[self.priority.class_], self.priority.priority)


@record
class RunFirstOn:
    """Run the runtime on these CPUs: its child is born there, still outside of the cgroup."""

    cpus: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"run on CPUs {self.cpus} until the process is in the container's cgroup"

    def apply(self, at: World) -> None:
        """See sched_setaffinity(2)."""
        del at
        kernel.sched_setaffinity(0, cpu_list.numbers_of(self.cpus) or ())


@record
class RunOn:
    """Let the process run on these CPUs, now that it is in the container's cgroup."""

    cpus: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"let the process run on CPUs {self.cpus}"

    def apply(self, at: World) -> None:
        """See sched_setaffinity(2)."""
        kernel.sched_setaffinity(at.pid, cpu_list.numbers_of(self.cpus) or ())


@record
class ForgetAffinity:
    """Let the process run wherever the container may, and not only where the caller may.

    Since Linux 6.2 a mask that somebody has set outlives the move into a cpuset
    (kernel commit da019032819a).
    """

    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return "let the process run on every CPU of the container"

    def apply(self, at: World) -> None:
        """See sched_setaffinity(2), which leaves out what the cpuset has not."""
        kernel.sched_setaffinity(at.pid, _EVERY_CPU)


def steps(process: Process) -> list[Step]:
    """Return what container init does to itself."""
    found: list[Step] = []
    if process.scheduler is not None:
        found.append(
            SetScheduler(process.scheduler, from_outside=False, origin="process.scheduler")
        )
    if process.io_priority is not None:
        found.append(SetIoPriority(process.io_priority, "process.ioPriority"))
    return found


def outside_steps(scheduler: Scheduler) -> list[Step]:
    """Return what the runtime does to a process that has forked from the one it was given to."""
    return [SetScheduler(scheduler, from_outside=True, origin="process.scheduler")]


def affinity_steps(process: Process) -> tuple[list[Step], list[Step]]:
    """Return what the runtime does before the birth, and when the process is in its cgroup."""
    affinity = process.exec_cpu_affinity
    if affinity is None:
        return [], [ForgetAffinity("runtime default")]
    first: list[Step] = []
    last: list[Step] = []
    if affinity.initial.strip(" "):
        first.append(RunFirstOn(affinity.initial, "process.execCPUAffinity.initial"))
    # config.md: without `final` the affinity SHOULD NOT be changed after the move.
    if affinity.final.strip(" "):
        last.append(RunOn(affinity.final, "process.execCPUAffinity.final"))
    return first, last
