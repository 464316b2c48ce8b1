"""What is asked of systemd: start a scope around a process, change its limits, stop it."""

from __future__ import annotations

from aisbx_runtime.oci.errors import HostError, StepError
from aisbx_runtime.oci.systemd.bus import MANAGER_PATH, SYSTEMD, Bus, CallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.systemd.wire import Message, Value

    # Name, signature, value.
    Property = tuple[str, str, Value]

UNIT_EXISTS = f"{SYSTEMD}.UnitExists"
NO_SUCH_UNIT = f"{SYSTEMD}.NoSuchUnit"
_PEER = "org.freedesktop.DBus.Peer"
DONE = "done"
# CPUWeight=idle as it is told over D-Bus, and the version that knows it.
IDLE = ("CPUWeight", "t", 0)
_KNOWS_IDLE = 252


def start(bus: Bus, unit: str, properties: tuple[Property, ...]) -> None:
    """Start a transient scope and wait until its processes are in it.

    Raises CallError UNIT_EXISTS when there is one of this name that is not just a leftover,
    HostError when systemd does not answer, StepError when it fails.
    """
    _watch(bus, unit)
    try:
        answer = _start(bus, unit, properties)
    except CallError as error:
        if error.name != UNIT_EXISTS:
            raise
        # A unit that failed stays until somebody has looked at it (systemctl reset-failed).
        _reset(bus, unit)
        answer = _start(bus, unit, properties)
    result = _result(bus, str(answer.body[0]), answer.sender)
    if result != DONE:
        _reset(bus, unit)
        raise StepError(
            f"systemd could not start {unit}",
            why=f"job: {result}",
            hint=f"see `systemctl status {unit}` and `journalctl -u {unit}`",
        )


def _start(bus: Bus, unit: str, properties: tuple[Property, ...]) -> Message:
    values = (unit, "replace", _variants(properties), ())
    return bus.answer(bus.ask("StartTransientUnit", "ssa(sv)a(sa(sv))", values))


def set_properties(bus: Bus, unit: str, properties: tuple[Property, ...]) -> None:
    """Change properties until the unit ends, and wait until its cgroup has them.

    Raises CallError, HostError.
    """
    if IDLE in properties and _version(bus) < _KNOWS_IDLE:
        properties = tuple([one for one in properties if one != IDLE])
    serial = bus.ask("SetUnitProperties", "sba(sv)", (unit, True, _variants(properties)))
    # systemd answers first and writes to the cgroup later, but before it takes the next message:
    # once this is answered it will not write over what we write (manager_loop of its source).
    later = bus.send(SYSTEMD, MANAGER_PATH, (_PEER, "Ping"))
    bus.answer(serial)
    bus.answer(later)


def _version(bus: Bus) -> int:
    # Such as "252.39-1~deb12u1", "v245" or "262 (262-1)".
    words = bus.manager_property("Version").removeprefix("v")
    return int("".join([one if one.isdigit() else " " for one in words]).split()[0])


def attach(bus: Bus, unit: str, below: str, pid: int) -> None:
    """Move a process into a unit, or into a cgroup below it. Raises CallError, HostError."""
    path = f"/{below}" if below else ""
    bus.answer(bus.ask("AttachProcessesToUnit", "ssau", (unit, path, (pid,))))


def stop(bus: Bus, unit: str) -> None:
    """Let a unit be gone, failed or not; one that is gone is no error.

    Raises CallError, HostError.
    """
    _watch(bus, unit)
    try:
        answer = bus.answer(bus.ask("StopUnit", "ss", (unit, "replace")))
    except CallError as error:
        if error.name == NO_SUCH_UNIT:
            return
        raise
    _result(bus, str(answer.body[0]), answer.sender)
    _reset(bus, unit)


def _watch(bus: Bus, unit: str) -> None:
    bus.watch(
        f"type='signal',sender='{SYSTEMD}',path='{MANAGER_PATH}',member='JobRemoved',arg2='{unit}'"
    )


def _result(bus: Bus, job: str, sender: str) -> str:
    """Wait for the end of a job: done, canceled, timeout, failed, dependency or skipped."""
    while True:
        found = bus.signal("JobRemoved")
        # Whoever is on a bus may send a signal that looks like it.
        if found.sender == sender and len(found.body) == 4 and found.body[1] == job:
            return str(found.body[3])


def _reset(bus: Bus, unit: str) -> None:
    try:
        bus.answer(bus.ask("ResetFailedUnit", "s", (unit,)))
    except CallError:
        # It has not failed, or is gone: both are what is wanted.
        return


def _variants(properties: tuple[Property, ...]) -> tuple[Value, ...]:
    return tuple([(name, (signature, value)) for name, signature, value in properties])


def cannot(what: str, error: CallError, where: str) -> HostError:
    """Return the failure of a call, as systemd explains it."""
    return HostError(what, where=where, why=error.why(), hint="see `journalctl -u init.scope`")
