"""Calls of the faulty runtime, and what it must leave behind: nothing. The driver is beside."""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING

from integration import leaks
from integration.runtime import PATH, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.bundle import Bundle
    from integration.runtime import Result, Runtime

HERE = os.path.dirname(os.path.abspath(__file__))
# Functions of `os` that may fail, and those that change something.
FALLIBLE = "open,write,mkdir,rename,unlink,rmdir,memfd_create,pidfd_open"
CHANGING = "write,mkdir,rename,unlink,rmdir"
KILLED = -9
MOST = 400


class Outcome:
    """What one call with a fault came to: its result, its log, and whether the fault struck."""

    def __init__(self, fault: str, result: Result, log: list[dict[str, str]], struck: int) -> None:
        self.fault, self.result, self.log, self.struck = fault, result, log, struck
        self.code = result.code

    def __repr__(self) -> str:
        said = f"{self.result.out!r}, {self.result.err!r}"
        return f"{self.fault}: exit {self.code}, {said}, log {self.log}"


class Faulty:
    """The runtime with one fault at a time, and a bundle's directory for its files."""

    def __init__(self, runtime: Runtime, directory: str) -> None:
        self.runtime = runtime
        self.log, self.mark = f"{directory}/log", f"{directory}/mark"
        with open(runtime.program) as program:
            self.interpreter = program.readline().removeprefix("#!").split()

    def __call__(self, fault: str, *words: str, **options: object) -> Outcome:
        for path in (self.log, self.mark):
            with open(path, "wb"):
                pass
        head = [*self.interpreter, f"{HERE}/driver.py", fault, "--root", self.runtime.root]
        env = {"PATH": PATH, "AISBX_FAULT_MARK": self.mark}
        log_flags = ["--log", self.log, "--log-format", "json"]
        result = call([*head, *log_flags, *words], env=env, **options)
        with open(self.log) as lines:
            log = [json.loads(line) for line in lines]
        return Outcome(fault, result, log, os.path.getsize(self.mark))

    def walk(self, fault: str, one: Callable[[str], Outcome]) -> Iterator[tuple[int, Outcome]]:
        """Call `one` with the fault at 1, 2, 3 ... until there is no such place any more."""
        for number in itertools.count(1):
            assert number < MOST
            outcome = one(f"{fault}:{number}")
            if not outcome.struck:
                assert outcome.code == 0, outcome
                return
            yield number, outcome


class Scene:
    """The session before a fault: what is there more after it was left behind."""

    def __init__(self, runtime: Runtime, *bundles: Bundle) -> None:
        self.runtime = runtime
        self.bundles = bundles
        self.spared = set(leaks.descendants())
        self.before = self._look()

    def _look(self) -> set[str]:
        found = {f"mount {line}" for line in leaks.mounts()}
        found |= {f"cgroup {path}" for path in leaks.cgroups()}
        directories = [bundle.path for bundle in self.bundles]
        if os.path.isdir(self.runtime.root):
            directories.append(self.runtime.root)
        for path in directories:
            found |= {f"file {path}/{name}" for name in os.listdir(path) if name != ".cache"}
        return found

    def left(self) -> list[str]:
        """Return what is there and was not: looked at once, since undo comes before the exit."""
        running = {
            f"process {pid}: {name}"
            for pid, name in leaks.descendants().items()
            if pid not in self.spared
        }
        return sorted(self._look() - self.before | running)

    def wrong_after(self, outcome: Outcome, *, code: int = 1) -> list[str]:
        """Return what is wrong after a failed call, and remove what it has left."""
        left = self.left()
        if left:
            for bundle in self.bundles:
                self.runtime("delete", "--force", bundle.id)
        wrong = misreported(outcome, code=code) + [f"left: {one}" for one in left]
        return [f"{outcome}: {wrong}"] if wrong else []

    def left_at_last(self) -> list[str]:
        """Return the same once orphans had the time to end: nobody reaps for a killed runtime."""
        leaks.wait_for_end(self.spared)
        return self.left()


def misreported(outcome: Outcome, *, code: int = 1) -> list[str]:
    """Return what is wrong with the report of a failure: one line, one object, one exit code."""
    lines = outcome.result.err.splitlines()
    wrong = []
    if outcome.code != code:
        wrong.append(f"exit {outcome.code} is not {code}")
    if outcome.result.out:
        wrong.append("stdout is not empty")
    if len(lines) != 1 or not lines[0].startswith("aisbx-runtime: "):
        wrong.append(f"stderr has {len(lines)} lines")
    if len(outcome.log) != 1:
        return [*wrong, f"the log has {len(outcome.log)} objects"]
    entry = outcome.log[0]
    if entry["level"] != "error" or not lines or not lines[0].endswith(entry["msg"]):
        wrong.append("the log does not say what stderr says")
    if "fault: EIO" not in entry["msg"] and "EIO" not in entry["msg"]:
        wrong.append("the cause is missing")
    if "defect" in entry.get("hint", ""):
        wrong.append("reported as a defect")
    return wrong
