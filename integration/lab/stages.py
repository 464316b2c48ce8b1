"""What `make test-lab` runs, where, and the table at its end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

from integration.lab import cache, guest, machine, terminal

SUMMARY = re.compile(r"(\d+ (?:passed|failed|error|skipped|deselected)[^\n=]*?) in [\d.]+s")
NOT_HERE = -1  # a guest that this host cannot start is told, and is no failure
NAMES_OF_CODES = {
    0: "passed",
    guest.TIMED_OUT: "TOO LONG",
    guest.NO_GUEST: "NO GUEST",
    NOT_HERE: "NOT RUN",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Tests that run together on one machine."""

    name: str
    guest: str  # "" is this host as it is
    tests: tuple[str, ...]
    timeout_s: int
    mark: str = "root"
    without: tuple[str, ...] = ()
    runs: str = "always"  # or only in the "brief" run of `make test`, or only in the "full" one


OF_CGROUPS = tuple(
    f"integration/lifecycle/test_{topic}.py"
    for topic in ("cgroups", "devices", "events", "exec_cgroup", "pause", "rootless", "update")
)
OF_CGROUPS_V2 = tuple(
    f"integration/lifecycle/test_cgroups_v2{topic}.py"
    for topic in ("", "_effects", "_life", "_nested")
)
# What newer kernels do in another way: mounts, namespaces, clone3, execveat.
OF_OLD_KERNELS = tuple(
    f"integration/lifecycle/test_{topic}.py" for topic in ("exec_birth", "paths", "run")
)
OF_CHECKPOINTS = (
    "integration/systemd/test_scope_checkpoint.py",
    "integration/engines/test_podman_checkpoint.py",
    "integration/engines/test_containerd_checkpoint.py",
    "integration/engines/test_docker_checkpoint.py",
    "integration/lifecycle/test_checkpoint.py",
    "integration/lifecycle/test_checkpoint_contents.py",
)
OF_DOCKER = ("integration/engines/test_docker.py", "integration/engines/test_docker_systemd.py")
# Docker takes a minute to start in a guest, and has a stage of its own.
NOT_WITH_ENGINES = (*OF_DOCKER, "integration/engines/test_docker_checkpoint.py")
STAGES = (
    Stage(name="lab", guest="", tests=("integration/lab",), timeout_s=400, mark="lab"),
    Stage(name="cgroups", guest="host", tests=OF_CGROUPS, timeout_s=900, runs="brief"),
    Stage(name="systemd", guest="systemd", tests=("integration/systemd",), timeout_s=900),
    Stage(
        name="lifecycle",
        guest="host",
        tests=("integration/lifecycle",),
        timeout_s=2400,
        runs="full",
    ),
    Stage(
        name="engines", guest="host", tests=("integration/engines",), timeout_s=2700, runs="full"
    ),
    Stage(name="cgroups-systemd", guest="systemd", tests=OF_CGROUPS, timeout_s=900),
    Stage(
        name="cgroups-v2-systemd",
        guest="systemd",
        tests=OF_CGROUPS_V2,
        timeout_s=900,
        runs="full",
    ),
    Stage(
        name="engines-systemd",
        guest="systemd",
        tests=("integration/engines",),
        without=NOT_WITH_ENGINES,
        timeout_s=2700,
        runs="full",
    ),
    Stage(name="old-kernel", guest="old", tests=OF_OLD_KERNELS, timeout_s=900),
    Stage(name="checkpoints", guest="own", tests=OF_CHECKPOINTS, timeout_s=900, runs="full"),
    Stage(name="docker", guest="systemd", tests=OF_DOCKER, timeout_s=1200, runs="full"),
)
NAMES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The kernel of the guests: one of machine.KERNELS, and on how many processors it runs."""

    name: str = "debian"
    processors: int = 1


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a stage has ended."""

    stage: Stage
    where: str
    code: int
    seconds: float
    summary: str


def chosen(names: list[str], of_guest: str, words: list[str], *, brief: bool) -> list[Stage]:
    """Return the stages to run; words of one's own make a stage of each guest."""
    if words:
        guests = [of_guest] if of_guest else ["host", "systemd"]
        return [
            Stage(name=f"yours-{name}", guest=name, tests=tuple(words), timeout_s=1800)
            for name in guests
        ]
    if names:
        return [stage for stage in STAGES if stage.name in names]
    runs = {"always", "brief" if brief else "full"}
    return [
        stage
        for stage in STAGES
        if stage.runs in runs and (not of_guest or stage.guest == of_guest)
    ]


def pytest_words(stage: Stage, python: str) -> list[str]:
    ignored = [f"--ignore={path}" for path in stage.without]
    words = ["-B", "-m", "pytest", "-p", "no:cacheprovider", "-m", stage.mark]
    return [python, *words, *ignored, *stage.tests]


def summary_of(output: str) -> str:
    """Return what pytest says last, or "": `957 passed, 29 skipped`."""
    found = SUMMARY.findall(output)
    return found[-1] if found else ""


def run_here(stage: Stage, runtime: dict[str, str]) -> tuple[int, str]:
    """Run a stage on this host as it is; return (exit status, last output)."""
    line = terminal.Pipe()
    with line:
        process = subprocess.Popen(
            pytest_words(stage, sys.executable),
            cwd=machine.CHECKOUT,
            env={**os.environ, **runtime},
            stdin=subprocess.DEVNULL,
            stdout=line.guest_fd,
            stderr=line.guest_fd,
            start_new_session=True,
        )
        line.give_away()
        deadline = time.monotonic() + stage.timeout_s
        try:
            while process.poll() is None and time.monotonic() < deadline:
                line.pump(0.2)
            if process.poll() is None:
                return guest.TIMED_OUT, ""
        finally:
            guest.end(process)
            line.drain()
    return process.returncode, line.last.decode(errors="replace")


def run_in_guest(stage: Stage, runtime: dict[str, str], kernel: Kernel) -> tuple[int, str]:
    reason = machine.lacks(stage.guest)
    if reason:
        return NOT_HERE, reason
    line = terminal.Pipe()
    systemd = stage.guest in machine.WITH_SYSTEMD
    # .venv is of this host's interpreter; the Debian brings its own pytest.
    python = "/usr/bin/python3" if systemd else sys.executable
    with machine.guest(
        stage.guest,
        kernel.name,
        processors=kernel.processors,
        directory=machine.CHECKOUT,
        environment=machine.environment([f"{name}={value}" for name, value in runtime.items()]),
        timeout_s=stage.timeout_s,
        build=systemd,
    ) as made:
        code = guest.run(made, pytest_words(stage, python), line)
    return code, line.last.decode(errors="replace")


def build(stages: list[Stage], kernel: Kernel, *, in_guest: bool) -> None:
    """Build what the stages need, outside of the time that each of them has."""
    names = {stage.guest for stage in stages if in_guest or not machine.is_native()} - {""}
    if any(stage.mark == "lab" for stage in stages):
        names |= {"host", "systemd"}
    begin = time.monotonic()
    for name in sorted(names):
        if not machine.lacks(name):
            with machine.guest(name, kernel.name, directory="/"):
                pass
    cache.say(f"what the guests need is there after {time.monotonic() - begin:.0f} s")


def run(stages: list[Stage], runtime: str, kernel: Kernel, *, in_guest: bool) -> int:
    """Run the stages, whatever fails, and print a table; return 1 if one has failed."""
    variables = {"AISBX_TEST_RUNTIME": os.path.abspath(runtime)} if runtime else {}
    results: list[Result] = []
    build(stages, kernel, in_guest=in_guest)
    for stage in stages:
        here = not stage.guest or (not in_guest and stage.guest != "old" and machine.is_native())
        where = "this host" if here else f"guest {stage.guest}"
        cache.say(f"==== {stage.name} on {where}: {' '.join(stage.tests)}")
        begin = time.monotonic()
        code, output = (
            run_here(stage, variables) if here else run_in_guest(stage, variables, kernel)
        )
        seconds = time.monotonic() - begin
        summary = output if code == NOT_HERE else summary_of(output)
        results.append(
            Result(stage=stage, where=where, code=code, seconds=seconds, summary=summary)
        )
    print(table(results), flush=True)
    return int(any(result.code not in {0, NOT_HERE} for result in results))


def table(results: list[Result]) -> str:
    rows = [("stage", "where", "result", "time", "tests")]
    rows += [
        (
            result.stage.name,
            result.where,
            NAMES_OF_CODES.get(result.code, "FAILED"),
            f"{result.seconds:.0f} s",
            result.summary,
        )
        for result in results
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = (
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(["", "==== lab", *padded])
