"""`linux.intelRdt`: the class of service and the monitoring group of the container in resctrl.

Nothing here looks for a resctrl file system before config.json asks for it (config-linux.md).
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import HostError, SpecError, StepError, kernel_error
from aisbx_runtime.oci.host import read_text
from aisbx_runtime.oci.kernel.path import write_once
from aisbx_runtime.oci.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.plan.step import Step, World
    from aisbx_runtime.oci.spec.model import IntelRdt

# What is journaled: removed with the container, or only when its create fails.
GROUP, GROUP_UNTIL_CREATED = "resctrl", "resctrl-until-created"
_ORIGIN = "linux.intelRdt"
# closID of the default class of service.
_DEFAULT_CLASS = "/"
_LINE_END = "\n"


@record
class MakeClass:
    """Make the class of service, or check that the one that is there is what is asked for.

    `named` tells that config.json gives its name: then it outlives the container.
    """

    class_: str
    named: bool
    schemata: tuple[str, ...]
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        lines = ", ".join([line for text in self.schemata for line in text.split(_LINE_END)])
        return f"make resctrl group {self.class_}{': ' if lines else ''}{lines}"

    def apply(self, at: World) -> None:
        """Make the directory, then write one schema after the other. See resctrl.rst."""
        path = _path_of(self.class_)
        if os.path.isdir(path) and self.named:
            self._compare(path)
            return
        if self.named and not self.schemata:
            raise StepError(
                f"there is no resctrl group {self.class_}",
                hint="make it first, or give it schemata",
            )
        if os.path.isdir(path):
            raise kernel_error(errno.EEXIST, "mkdir", path)
        _make(at, GROUP_UNTIL_CREATED if self.named else GROUP, path)
        for schema in self.schemata:
            write_once(f"{path}/schemata", schema + _LINE_END)

    def _compare(self, path: str) -> None:
        if not self.schemata:
            return
        actual = _limits_of(read_text(f"{path}/schemata"))
        # Of two that speak of the same domain the later one counts, as when they are written.
        wanted = _limits_of(_LINE_END.join(self.schemata))
        different = [key for key, value in wanted.items() if actual.get(key) != value]
        if different:
            resource, domain = different[0]
            raise StepError(
                f"resctrl group {self.class_} is there with other schemata",
                why=f"{resource}:{domain} is {actual.get(different[0])}",
                hint="take another closID, or ask for what it has",
            )


@record
class MakeMonitoringGroup:
    """Make a monitoring group of the container's own within its class of service."""

    class_: str
    name: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        return f"make resctrl monitoring group {self.name}"

    def apply(self, at: World) -> None:
        """Make the directory; the kernel says ENOSPC when there are no more."""
        _make(at, GROUP, f"{_path_of(self.class_)}/mon_groups/{self.name}")


@record
class JoinGroup:
    """Put the process into the group; what it forks is born there."""

    class_: str
    monitoring: str
    origin: str

    def describe(self) -> str:
        """Return one line, in the imperative."""
        within = f", monitoring group {self.monitoring}" if self.monitoring else ""
        return f"join resctrl group {self.class_}{within}"

    def apply(self, at: World) -> None:
        """Write the pid to `tasks`."""
        path = _path_of(self.class_)
        write_once(f"{path}/tasks", str(at.pid))
        if self.monitoring:
            write_once(f"{path}/mon_groups/{self.monitoring}/tasks", str(at.pid))


def _make(at: World, kind: str, path: str) -> None:
    at.own(kind, path)
    try:
        os.mkdir(path, 0o755)
    except OSError as error:
        raise kernel_error(error.errno or 0, "mkdir", path) from None


def _path_of(class_: str) -> str:
    root = mount_point(read_text("/proc/self/mountinfo"))
    if not root:
        raise HostError(
            "linux.intelRdt: no resctrl file system is mounted here",
            where="config.json",
            hint="mount -t resctrl resctrl /sys/fs/resctrl, where CPU and kernel have it",
        )
    return root if class_ == _DEFAULT_CLASS else f"{root}/{class_}"


def mount_point(mountinfo: str) -> str:
    """Return where resctrl is mounted, or nothing. See proc_pid_mountinfo(5)."""
    for line in mountinfo.split(_LINE_END):
        before, _, after = line.partition(" - ")
        if after.startswith("resctrl "):
            return before.split(" ")[4]
    return ""


def _limits_of(schemata: str) -> dict[tuple[str, str], str]:
    """Return (resource, domain) -> limit of lines such as `L3:0=7ff;1=7ff`."""
    found: dict[tuple[str, str], str] = {}
    for line in schemata.split(_LINE_END):
        resource, _, domains = line.strip().partition(":")
        for entry in domains.split(";"):
            domain, equals, limit = entry.partition("=")
            if equals:
                # The kernel fills masks up with zeros.
                found[resource, domain.strip()] = limit.strip().lower().lstrip("0") or "0"
    return found


def _schemata_of(rdt: IntelRdt) -> tuple[str, ...]:
    """Return what is written, in this order, one write each: a write names a resource once."""
    cache = rdt.l3_cache_schema.strip(_LINE_END)
    if cache and rdt.mem_bw_schema:
        lines = [line for line in cache.split(_LINE_END) if not line.startswith("MB:")]
        cache = _LINE_END.join(lines)
    return tuple([text for text in (cache, rdt.mem_bw_schema, *rdt.schemata) if text])


def steps(rdt: IntelRdt, container_id: str) -> list[Step]:
    """Return what is made before the birth. Raises SpecError."""
    for index, line in enumerate(rdt.schemata):
        if _LINE_END in line:
            raise SpecError(
                f"linux.intelRdt.schemata[{index}]: expected one line",
                where="config.json",
                hint="make it two entries",
            )
    class_ = rdt.clos_id or container_id
    found: list[Step] = [MakeClass(class_, bool(rdt.clos_id), _schemata_of(rdt), _ORIGIN)]
    if rdt.enable_monitoring:
        origin = f"{_ORIGIN}.enableMonitoring"
        found.append(MakeMonitoringGroup(class_, container_id, origin))
    return found


def join_steps(rdt: IntelRdt, container_id: str) -> list[Step]:
    """Return how a process of the container gets into its group."""
    monitoring = container_id if rdt.enable_monitoring else ""
    return [JoinGroup(rdt.clos_id or container_id, monitoring, _ORIGIN)]


def remove(paths: list[str]) -> None:
    """Remove groups that were made, the inner ones first; what is gone is no error."""
    for path in reversed(paths):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
