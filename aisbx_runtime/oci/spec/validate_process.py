"""Rules between the fields of a process: of config.json, and of the file of `exec --process`."""

from __future__ import annotations

from aisbx_runtime.oci.spec import cpu_list, rlimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.spec.model import Process
    from aisbx_runtime.oci.spec.node import Document, Path

_REALTIME = frozenset(("SCHED_FIFO", "SCHED_RR"))


def there_is_a_program(process: Process, at: Document, path: Path) -> None:
    # config.md: at least one entry is required.
    if not process.args:
        raise at.error((*path, "args"), "required, and may not be empty")


def cwd_is_absolute(process: Process, at: Document, path: Path) -> None:
    # config.md: cwd is required and MUST be an absolute path.
    if not process.cwd:
        raise at.error((*path, "cwd"), "required, and may not be empty", 'write "/"')
    if not process.cwd.startswith("/"):
        raise at.error((*path, "cwd"), "must be an absolute path")


def environment_has_names(process: Process, at: Document, path: Path) -> None:
    # environ(7); runc refuses these too, and what reads PATH later can rely on it.
    for index, entry in enumerate(process.env):
        if entry.find("=") < 1:
            raise at.error((*path, "env", index), "expected NAME=value")


def rlimits_exist_once(process: Process, at: Document, path: Path) -> None:
    # config.md: an unknown type, or one that is there twice, MUST be an error.
    seen: set[str] = set()
    for index, limit in enumerate(process.rlimits):
        place = (*path, "rlimits", index)
        if limit.type not in rlimits.NUMBERS:
            raise at.error((*place, "type"), "unknown resource", "see getrlimit(2) for the names")
        if limit.soft > limit.hard:
            # setrlimit(2): EINVAL
            raise at.error(place, f"soft {limit.soft} is above hard {limit.hard}")
        if limit.type in seen:
            raise at.error(place, f"{limit.type} is there twice")
        seen.add(limit.type)


def scheduler_fits_its_policy(process: Process, at: Document, path: Path) -> None:
    # sched_setattr(2): EINVAL
    scheduler = process.scheduler
    if scheduler is None:
        return
    place = (*path, "scheduler")
    if not -20 <= scheduler.nice <= 19:
        raise at.error((*place, "nice"), "expected a number from -20 to 19")
    if scheduler.priority and scheduler.policy not in _REALTIME:
        raise at.error((*place, "priority"), "only SCHED_FIFO and SCHED_RR have one")
    deadline = scheduler.runtime or scheduler.deadline or scheduler.period
    if deadline and scheduler.policy != "SCHED_DEADLINE":
        raise at.error(place, "runtime, deadline and period belong to SCHED_DEADLINE")


def cpu_lists_are_lists(process: Process, at: Document, path: Path) -> None:
    affinity = process.exec_cpu_affinity
    if affinity is None:
        return
    for key, text in (("initial", affinity.initial), ("final", affinity.final)):
        if cpu_list.numbers_of(text) is None:
            raise at.error(
                (*path, "execCPUAffinity", key), "expected a list of CPUs", 'write "0-3,7"'
            )


CHECKS = (
    there_is_a_program,
    cwd_is_absolute,
    environment_has_names,
    rlimits_exist_once,
    scheduler_fits_its_policy,
    cpu_lists_are_lists,
)
