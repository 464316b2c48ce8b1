"""events: what a container uses, at intervals, and when it runs out of memory; JSON by the line.

What the figures are and where they come from is told by `statistics`.
"""

from __future__ import annotations

import errno
import select
import time

from aisbx_runtime.oci import cgroup, jsontext, report
from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.errors import NOT_RUNNING, StateError, UsageError, kernel_error
from aisbx_runtime.oci.statistics import statistics_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call

# Go's time.ParseDuration; the longer name first, `ms` is not minutes.
UNITS_S = (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0))
STDOUT = 1


def main(call: Call) -> int:
    """Print the figures once with --stats, else events until container init ends."""
    interval_s = interval_of(call.values.text("interval") or "5s")
    container = containers.load(call.root(), call.values.words[0])
    facts = container.facts()
    init_fd = containers.open_init(facts)
    if init_fd < 0:
        raise StateError(f"{NOT_RUNNING}: {container.id}")
    paths = tuple(facts.texts("cgroups"))
    if call.values.flag("stats"):
        _print_figures(container.id, paths)
        return 0
    _watch(container.id, paths, init_fd, interval_s)
    return 0


def interval_of(text: str) -> float:
    """Return seconds for such as 5s, 1m30s or 0.5s. Raises UsageError."""
    seconds, rest = 0.0, text
    while rest:
        unit = rest.lstrip("0123456789.")
        digits = rest[: len(rest) - len(unit)]
        found = next((one for one in UNITS_S if unit.startswith(one[0])), None)
        if found is None or digits.count(".") > 1 or not digits.strip("."):
            seconds = 0.0
            break
        seconds += float(digits) * found[1]
        rest = unit[len(found[0]) :]
    if seconds <= 0:
        raise UsageError(
            f"--interval {text!r}: expected a time greater than 0", hint="write such as 5s"
        )
    return seconds


def _print_figures(container_id: str, paths: tuple[str, ...]) -> None:
    event = {"type": "stats", "id": container_id, "data": statistics_of(paths)}
    report.out(jsontext.dump(event) + "\n")


def _watch(container_id: str, paths: tuple[str, ...], init_fd: int, interval_s: float) -> None:
    memory = _OutOfMemory(paths)
    poll = select.poll()
    poll.register(init_fd, select.POLLIN)
    # No events of its own; POLLERR says that nobody reads any more.
    poll.register(STDOUT, 0)
    if memory.fd >= 0:
        poll.register(memory.fd, memory.event)
    due = time.monotonic() + interval_s
    while True:
        left_ms = max((due - time.monotonic()) * 1000, 0)
        ready = dict(poll.poll(left_ms))
        if STDOUT in ready:
            return
        for _ in range(memory.news() if memory.fd in ready or init_fd in ready else 0):
            report.out(jsontext.dump({"type": "oom", "id": container_id}) + "\n")
        if init_fd in ready:
            return
        if time.monotonic() >= due:
            _print_figures(container_id, paths)
            due += interval_s


class _OutOfMemory:
    """Tells when the memory limit was hit: by an eventfd on v1, by memory.events on v2."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        """Begin to watch; `fd` is -1 where there is no memory controller."""
        self.fd = -1
        self.event = select.POLLIN
        self._paths = paths
        self._seen = cgroup.oom_kills(paths)
        for path in paths:
            if self.fd < 0:
                self._watch_v2(path)
            if self.fd < 0:
                self._watch_v1(path)

    def _watch_v2(self, path: str) -> None:
        try:
            self.fd = os.open(f"{path}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        # cgroups(7): a change of the file is reported as POLLPRI, once it has been read.
        self.event = select.POLLPRI
        os.pread(self.fd, 4096, 0)

    def _watch_v1(self, path: str) -> None:
        control = f"{path}/cgroup.event_control"
        try:
            watched_fd = os.open(f"{path}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control_fd = os.open(control, os.O_WRONLY | os.O_CLOEXEC)
            try:
                # memory.rst (v1), 10: the two fds, to be told of each time that memory runs out.
                os.write(control_fd, f"{event_fd} {watched_fd}".encode())
            finally:
                os.close(control_fd)
        except OSError as error:
            raise kernel_error(error.errno or 0, "write", control) from None
        self.fd = event_fd

    def news(self) -> int:
        """Return how often memory ran out since the last call."""
        if self.fd < 0:
            return 0
        try:
            if self.event == select.POLLIN:
                # Told before anything is killed: the count of kills is not to be waited for.
                os.read(self.fd, 8)
                return 1
            os.pread(self.fd, 4096, 0)
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.ENODEV}:
                raise
            return 0
        before, self._seen = self._seen, max(cgroup.oom_kills(self._paths), self._seen)
        return self._seen - before
