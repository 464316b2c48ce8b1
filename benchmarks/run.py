"""Speed and memory side by side with runc, as ratios: `make bench`.

Each figure is measured alternately with its control in one run, on the same bundle: an 80-rule
seccomp filter, a new network namespace. Machines are shared and noisy: the ratio of the minima is
the signal, that of the medians tells how far to trust it. Nothing here fails on a figure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
OURS = CHECKOUT / "bin/aisbx-runtime"
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}


@dataclass
class Figure:
    """One comparison; `goal` is the ratio to reach. Times in ms unless it says otherwise."""

    name: str
    control: str
    goal: float
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        """Return the figure as it is printed."""
        return {
            "figure": self.name,
            "control": self.control,
            "ours_min_ms": round(min(self.ours), 1),
            "control_min_ms": round(min(self.theirs), 1),
            "ratio_of_minima": round(min(self.ours) / min(self.theirs), 2),
            "ratio_of_medians": round(
                statistics.median(self.ours) / statistics.median(self.theirs), 2
            ),
            "goal": self.goal,
        }


class Runtime:
    """A runtime under measurement, with a state directory of its own."""

    def __init__(self, program: str, state: pathlib.Path, bundle: pathlib.Path) -> None:
        self.name = state.name
        self.argv = [program, "--root", str(state)]
        self.bundle = bundle

    def call(self, *words: str) -> float:
        """Call it; return how long it took in ms."""
        begin = time.perf_counter()
        subprocess.run([*self.argv, *words], cwd=self.bundle, check=True, **QUIET)
        return (time.perf_counter() - begin) * 1000

    def state(self, name: str) -> dict[str, object]:
        out = subprocess.run(
            [*self.argv, "state", name], check=True, capture_output=True, cwd=self.bundle
        )
        return json.loads(out.stdout)


def make_bundle(directory: pathlib.Path, args: list[str]) -> pathlib.Path:
    """Make a bundle of a static busybox with `runc spec`'s own configuration and a filter."""
    rootfs = directory / "rootfs"
    for name in ("bin", "proc", "sys", "dev", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", rootfs / "bin/busybox")
    for name in ("true", "sh", "sleep"):
        (rootfs / "bin" / name).symlink_to("busybox")
    subprocess.run(["runc", "spec"], cwd=directory, check=True, **QUIET)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["process"].update(terminal=False, args=args)
    config["linux"]["seccomp"] = filter_of_80_rules()
    path.write_text(json.dumps(config))
    return directory


def filter_of_80_rules() -> dict[str, object]:
    """Return what podman allows without conditions, spread over 80 rules."""
    shipped = json.loads(pathlib.Path("/usr/share/containers/seccomp.json").read_text())
    names = [
        name
        for rule in shipped["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    ]
    names = list(dict.fromkeys(names))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": names[n::80], "action": "SCMP_ACT_ALLOW"} for n in range(80)],
    }


def measure(ours: Runtime, theirs: Runtime, rounds: int) -> list[Figure]:
    """Measure all verbs alternately."""
    run = Figure("run /bin/true", "runc run", 0.75)
    three = Figure("create + start + delete", "runc's three", 1.0)
    state = Figure("state", "python3 -IS -c pass", 1.6)
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for runtime, runs, threes in (
            (ours, run.ours, three.ours),
            (theirs, run.theirs, three.theirs),
        ):
            runs.append(runtime.call("run", "bench"))
            total = runtime.call("create", "bench")
            if runtime is ours:
                state.ours.append(runtime.call("state", "bench"))
            total += runtime.call("start", "bench")
            # runc refuses to delete what still runs: waiting for the end is no part of the figure.
            while runtime.state("bench")["status"] != "stopped":
                pass
            threes.append(total + runtime.call("delete", "bench"))
        state.theirs.append(interpreter_start())
    return [run, three, state]


def interpreter_start() -> float:
    """Start the launcher's interpreter with nothing to do; return how long it took in ms."""
    interpreter = OURS.read_text().splitlines()[0].removeprefix("#!").split()[0]
    begin = time.perf_counter()
    subprocess.run([interpreter, "-IS", "-c", "pass"], check=True, **QUIET)
    return (time.perf_counter() - begin) * 1000


def measure_exec(ours: Runtime, theirs: Runtime, rounds: int) -> Figure:
    """Measure exec in a running container."""
    figure = Figure("exec /bin/true", "runc exec", 0.8)
    with running(ours), running(theirs):
        for number in range(rounds):
            progress(f"exec {number + 1} of {rounds}")
            figure.ours.append(ours.call("exec", "exec-ours", "/bin/true"))
            figure.theirs.append(theirs.call("exec", "exec-runc", "/bin/true"))
    return figure


@contextlib.contextmanager
def running(runtime: Runtime):
    """Have a container run meanwhile."""
    runtime.call("run", "--detach", "exec-" + runtime.name)
    try:
        yield
    finally:
        runtime.call("delete", "--force", "exec-" + runtime.name)


def measure_many(ours: Runtime, count: int, rounds: int) -> list[Figure]:
    """Measure create, state and list beside `count` waiting containers, and alone before.

    The two cannot alternate, so each time is divided by that of an interpreter started beside it:
    these figures are multiples of `python3 -IS -c pass`, not ms.
    """
    alone: dict[str, list[float]] = {"create": [], "state": [], "list": []}
    crowded: dict[str, list[float]] = {"create": [], "state": [], "list": []}
    sample(ours, alone, rounds)
    try:
        for number in range(count):
            progress(f"container {number + 1} of {count}")
            ours.call("create", f"many-{number}")
        sample(ours, crowded, rounds)
    finally:
        for number in range(count):
            with contextlib.suppress(subprocess.CalledProcessError):
                ours.call("delete", "--force", f"many-{number}")
    goals = {"create": 1.2, "state": 1.2, "list": float("nan")}
    return [
        Figure(f"{verb} beside {count}", f"{verb} alone", goals[verb], crowded[verb], alone[verb])
        for verb in alone
    ]


def sample(ours: Runtime, into: dict[str, list[float]], rounds: int) -> None:
    """Measure three verbs on one more container, each against an interpreter."""
    for _ in range(rounds):
        into["create"].append(ours.call("create", "bench") / interpreter_start())
        into["state"].append(ours.call("state", "bench") / interpreter_start())
        into["list"].append(ours.call("list") / interpreter_start())
        ours.call("delete", "bench")


def waiting_memory_kb(ours: Runtime) -> int:
    """Return the private memory of a created container in kB."""
    ours.call("create", "bench")
    try:
        pid = ours.state("bench")["pid"]
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    finally:
        ours.call("delete", "bench")
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def smallest_memory_limit(ours: Runtime) -> bool:
    """Tell whether a static /bin/true runs within 4 MiB."""
    path = ours.bundle / "config.json"
    text = path.read_text()
    config = json.loads(text)
    config["linux"].setdefault("resources", {})["memory"] = {"limit": 4 << 20}
    path.write_text(json.dumps(config))
    try:
        ours.call("run", "bench")
    except subprocess.CalledProcessError:
        return False
    finally:
        path.write_text(text)
    return True


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--containers", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: containers side by side with runc need root", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="aisbx-bench-") as scratch:
        top = pathlib.Path(scratch)
        bundle = make_bundle(top / "true", ["/bin/true"])
        sleeping = make_bundle(top / "sleep", ["/bin/sleep", "1000"])
        # The state directories where users have them: on a tmpfs.
        states = pathlib.Path(tempfile.mkdtemp(prefix="aisbx-bench-", dir="/run"))
        try:
            ours = Runtime(str(OURS), states / "ours", bundle)
            theirs = Runtime("runc", states / "runc", bundle)
            figures = measure(ours, theirs, options.rounds)
            ours_asleep = Runtime(str(OURS), states / "ours", sleeping)
            theirs_asleep = Runtime("runc", states / "runc", sleeping)
            figures.append(measure_exec(ours_asleep, theirs_asleep, options.rounds))
            memory = waiting_memory_kb(ours)
            tiny = smallest_memory_limit(ours)
            figures.extend(measure_many(ours, options.containers, max(options.rounds // 4, 1)))
        finally:
            shutil.rmtree(states, ignore_errors=True)
    progress("")
    report(figures, memory, tiny=tiny, as_json=options.json)
    return 0


def table(rows: list[dict[str, object]]) -> None:
    """Print the figures."""
    print(f"{'':<26}{'control':<22}{'ours':>8}{'control':>9}{'minima':>8}{'medians':>9}{'goal':>7}")
    for row in rows:
        print(
            f"{row['figure']:<26}{row['control']:<22}{row['ours_min_ms']:>8}"
            f"{row['control_min_ms']:>9}{row['ratio_of_minima']:>8}"
            f"{row['ratio_of_medians']:>9}{row['goal']:>7}"
        )


def report(figures: list[Figure], memory: int, *, tiny: bool, as_json: bool) -> None:
    rows = [figure.row() for figure in figures]
    if as_json:
        result = {"figures": rows, "waiting_private_kb": memory, "runs_within_4_mib": tiny}
        print(json.dumps(result, indent=2))
        return
    table(rows)
    print(f"a created container that waits: {memory} kB of private memory (goal 300)")
    print(f"memory.limit of 4 MiB with a static true: {'runs' if tiny else 'does not run'}")


if __name__ == "__main__":
    sys.exit(main())
