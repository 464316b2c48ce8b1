"""update: other limits for a container that lives; what is not given stays as it is.

Which value goes into which file is told by `plan.cgroup.update`. Nothing is stored: limits are
read from the kernel by whoever wants to know them.
"""

from __future__ import annotations

import errno

from aisbx_runtime.oci import container as containers
from aisbx_runtime.oci import host as hosts
from aisbx_runtime.oci import jsontext, report
from aisbx_runtime.oci import system as os
from aisbx_runtime.oci.container import STOPPED
from aisbx_runtime.oci.errors import (
    NOT_RUNNING,
    Failure,
    HostError,
    StateError,
    UsageError,
    hint_of,
    why_of,
)
from aisbx_runtime.oci.lifecycle import bundle as bundles
from aisbx_runtime.oci.plan import cgroup
from aisbx_runtime.oci.plan.cgroup_steps import Setting, WriteLimits
from aisbx_runtime.oci.plan.step import World
from aisbx_runtime.oci.record import replace
from aisbx_runtime.oci.spec import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.cli import Call
    from aisbx_runtime.oci.flags import Values
    from aisbx_runtime.oci.plan.step import Step
    from aisbx_runtime.oci.spec.model import Resources

STDIN = 0
FILE = "resources.json"
COMMAND_LINE = "command line"

# Flag -> the place of its value in LinuxResources.
NUMBERS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
SIZES = {
    "memory": ("memory", "limit"),
    "memory-swap": ("memory", "swap"),
    "memory-reservation": ("memory", "reservation"),
}
LISTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
# runc has accepted and ignored these since kernel memory counts as memory (Linux 5.4).
KERNEL_MEMORY = ("kernel-memory", "kernel-memory-tcp")
INTEL_RDT = ("l3-cache-schema", "mem-bw-schema")
_UNITS = "bkmgtp"
_GIVEN = (*NUMBERS, *SIZES, *LISTS, *KERNEL_MEMORY, *INTEL_RDT)


def main(call: Call) -> int:
    """Change the limits that are given: all of them, or none."""
    resources = _resources_of(call.values)
    container = containers.load(call.root(), call.values.words[0])
    container.lock()
    facts = container.facts()
    if containers.status_of(container, facts) == STOPPED:
        raise StateError(f"{NOT_RUNNING}: {container.id}")
    paths = tuple(facts.texts("cgroups"))
    if not paths:
        raise HostError(
            f"cannot update container {container.id}: it has no cgroup",
            hint="create it with a cgroup manager",
        )
    wanted = _with_limit(resources, paths)
    try:
        steps = cgroup.update(wanted, hosts.detect(), paths, facts.text("ociVersion"))
        if facts.text("scope"):
            from aisbx_runtime.oci.plan import scope

            steps = scope.update(
                _with_bandwidth(wanted, paths[0]), steps, facts.text("scope"),
                facts.text("ociVersion"),
            )  # fmt: skip
    except Failure as failure:
        # Not config.json, to which the same rules apply.
        failure.where = FILE if "resources" in call.values.given else COMMAND_LINE
        raise
    at = World(container.id, facts.text("bundle"))
    done: list[Step] = []
    try:
        for step in steps:
            report.debug(call.options, f"{step.describe()} <- {step.origin}")
            done[:0] = _undoing(step)
            _apply(step, at)
    except Failure as failure:
        _undo(done, at, failure)
        raise
    return 0


# ---- what is asked for ---------------------------------------------------------------------------
def _resources_of(values: Values) -> Resources:
    """Return the limits of the file or of the flags. Raises SpecError or UsageError."""
    path = values.optional("resources")
    if path is not None:
        mixed = [name for name in _GIVEN if name in values.given]
        if mixed:
            raise UsageError(
                f"--{mixed[0]}: not together with --resources", hint="write it into the file"
            )
        data = _stdin() if path == "-" else bundles.read_file(path, FILE)
        return parse.resources_of(parse.text_of(data, FILE), FILE)
    for name in INTEL_RDT:
        if name in values.given:
            raise UsageError(
                f"--{name} cannot be enforced: this runtime does not have Intel RDT",
                hint="leave it out",
            )
    # As the text of a file: flags are thus checked by the same rules.
    return parse.resources_of(jsontext.dump(document_of(values)), COMMAND_LINE)


def _stdin() -> bytes:
    # By its fd: /dev/fd/0 cannot be opened when it is a socket.
    data = b""
    while len(data) <= bundles.MAX_CONFIG_BYTES and (chunk := os.read(STDIN, 1 << 16)):
        data += chunk
    return data


def document_of(values: Values) -> dict[str, dict[str, object]]:
    """Return LinuxResources with what the flags say. Raises UsageError."""
    found: dict[str, dict[str, object]] = {}
    for name, (group, key) in NUMBERS.items():
        if name in values.given:
            found.setdefault(group, {})[key] = _number_of(values.text(name), name)
    for name, (group, key) in SIZES.items():
        if name in values.given:
            found.setdefault(group, {})[key] = size_of(values.text(name), name)
    for name, (group, key) in LISTS.items():
        if name in values.given:
            found.setdefault(group, {})[key] = values.text(name)
    for name in KERNEL_MEMORY:
        if name in values.given:
            size_of(values.text(name), name)
    return found


def _number_of(text: str, flag: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise UsageError(f"--{flag} {text!r}: expected a number")
    return int(text)


def size_of(text: str, flag: str) -> int:
    """Return a number of bytes: `64M`, `64mb`, `64MiB` and `67108864` are the same; -1: no limit.

    As docker/go-units RAMInBytes, which runc calls. Raises UsageError.
    """
    if text == "-1":
        return -1
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(number) :].strip().lower()
    whole, dot, part = number.partition(".")
    digits = whole + part
    power = _UNITS.find(unit[0]) if unit else 0
    known = unit in {"", "b"} or (power > 0 and unit[1:] in {"", "b", "ib"})
    plain = whole and digits.isascii() and digits.isdigit() and len(digits) < 20
    if not (plain and known and (part or not dot)):
        raise UsageError(f"--{flag} {text!r}: expected a size", hint='write such as "64M", or -1')
    return (int(digits) << (10 * power)) // int("1" + "0" * len(part))


def _with_limit(resources: Resources, paths: tuple[str, ...]) -> Resources:
    """Return the resources, the memory limit in force added to a lone limit with swap.

    The two are told together, and v2 stores their difference.
    """
    memory = resources.memory
    if memory is None or memory.limit or (memory.swap or 0) <= 0:
        return resources
    for path in paths:
        for file in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = hosts.read_text(f"{path}/{file}").strip()
            except FileNotFoundError:
                continue
            unlimited = text == "max" or int(text) > 1 << 62
            limit = -1 if unlimited else int(text)
            return replace(resources, memory=replace(memory, limit=limit))
    return resources


def _with_bandwidth(resources: Resources, path: str) -> Resources:
    """Return the resources, a lone quota or period completed by what is in force.

    To systemd a quota is told as a part of each second.
    """
    cpu = resources.cpu
    if cpu is None or bool(cpu.quota) == bool(cpu.period):
        return resources
    quota, _, period = hosts.read_text(f"{path}/cpu.max").strip().partition(" ")
    if cpu.quota:
        return replace(resources, cpu=replace(cpu, period=int(period)))
    return replace(resources, cpu=replace(cpu, quota=-1 if quota == "max" else int(quota)))


# ---- all or nothing ------------------------------------------------------------------------------
def _apply(step: Step, at: World) -> None:
    try:
        step.apply(at)
    except OSError as error:
        raise Failure(
            f"cannot {step.describe()}", where=step.origin, why=why_of(error), hint=hint_of(error)
        ) from None


def _undoing(step: Step) -> list[Step]:
    """Return the steps that write back what `step` is about to change.

    A file of more than one line is keyed by device; what it holds cannot be written as it is.
    """
    directory = getattr(step, "directory", "")
    if not directory:
        return []
    files: tuple[str, ...] = ("cpu.max",)
    if isinstance(step, WriteLimits):
        files = tuple(name for one in step.settings for name in (one.file, *(one.other or ())[:1]))
    before: list[Setting] = []
    for file in files:
        try:
            text = hosts.read_text(f"{directory}/{file}").strip()
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP}:
                raise
            # Not there, or not to be read: then it is not changed either.
            continue
        if text and "\n" not in text:
            before.append(Setting(step.origin, file, text))
    return [WriteLimits(step.origin, directory, tuple(before))] if before else []


def _undo(steps: list[Step], at: World, failure: Failure) -> None:
    for step in steps:
        try:
            step.apply(at)
        except (OSError, Failure) as second:
            why = second.line() if isinstance(second, Failure) else why_of(second)
            failure.add_note(f"and could not write back an earlier limit: {why}")
