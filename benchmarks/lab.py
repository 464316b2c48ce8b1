"""Ratios to runc on unified cgroup v2, with podman: `make bench-lab` runs this in the lab's guest.

Figures of a guest are worth nothing by themselves: system calls take several times as long there.
Ours and runc alternate; the first round, which fills caches, does not count. Nothing fails here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

from benchmarks.run import OURS, QUIET, Figure, Runtime, make_bundle, progress, table

IMAGE = "localhost/bench"
MEBI = 1 << 20


class Podman:
    """podman with storage of its own, on the runtime named."""

    def __init__(self, top: pathlib.Path) -> None:
        # The disk of the guest: overlay has no upper directory on another overlay.
        storage = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir="/var/lib/containers"))
        self.storage = storage
        self.run_root = top / "podman"
        self.argv = ["podman", "--root", str(storage), "--runroot", str(self.run_root)]
        self.argv += ["--cgroup-manager", "cgroupfs", "--events-backend", "file"]

    def call(self, *words: str) -> float:
        """Call it; return how long it took in ms."""
        begin = time.perf_counter()
        subprocess.run([*self.argv, *words], check=True, **QUIET)
        return (time.perf_counter() - begin) * 1000

    def run(self, runtime: str) -> float:
        words = ("run", "--rm", "--network", "none", "--memory", "64m", IMAGE, "true")
        return self.call("--runtime", runtime, *words)

    def close(self) -> None:
        subprocess.run([*self.argv, "rmi", "--all", "--force"], check=False, **QUIET)
        for path in (self.storage, self.run_root):
            for mount in ("overlay", ""):
                subprocess.run(
                    ["umount", "--lazy", str(path / mount)],
                    check=False,
                    **QUIET,
                    stderr=subprocess.DEVNULL,
                )
            shutil.rmtree(path, ignore_errors=True)


def measure_podman(top: pathlib.Path, rootfs: pathlib.Path, rounds: int) -> Figure:
    """Measure a whole `podman run --rm`."""
    figure = Figure("podman run --rm", "with runc", 1.05)
    podman = Podman(top)
    try:
        archive = top / "image.tar"
        with tarfile.open(archive, "w") as file:
            file.add(rootfs, arcname=".")
        podman.call("import", "--quiet", str(archive), IMAGE)
        for number in range(rounds + 1):
            progress(f"podman {number} of {rounds}")
            ours, theirs = podman.run(str(OURS)), podman.run("runc")
            if number:
                figure.ours.append(ours)
                figure.theirs.append(theirs)
    finally:
        podman.close()
    return figure


def limited(bundle: pathlib.Path) -> None:
    """Give the bundle the limits and the cgroup path that podman gives."""
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["linux"]["cgroupsPath"] = "/bench/one"
    limits = {"memory": {"limit": 64 * MEBI}, "pids": {"limit": 2048}, "cpu": {"shares": 512}}
    config["linux"].setdefault("resources", {}).update(limits)
    config["process"]["capabilities"].pop("ambient", None)
    path.write_text(json.dumps(config))


def measure_three(ours: Runtime, theirs: Runtime, rounds: int) -> Figure:
    """Measure create, start and delete with limits in a cgroup."""
    figure = Figure("create + start + delete", "runc's three", 1.0)
    for number in range(rounds + 1):
        progress(f"three verbs {number} of {rounds}")
        for runtime, times in ((ours, figure.ours), (theirs, figure.theirs)):
            total = runtime.call("create", "bench") + runtime.call("start", "bench")
            while runtime.state("bench")["status"] != "stopped":
                pass
            total += runtime.call("delete", "bench")
            if number:
                times.append(total)
    return figure


def all_created(runtime: Runtime, count: int) -> float:
    """Create so many containers at the same time, each in a cgroup of its own; return the ms."""
    names = [f"many-{number}" for number in range(count)]
    bundles = [bundle_for(runtime.bundle, name) for name in names]
    begin = time.perf_counter()
    running = [
        subprocess.Popen([*runtime.argv, "create", name], cwd=bundle, **QUIET)
        for name, bundle in zip(names, bundles, strict=True)
    ]
    codes = {process.wait() for process in running}
    took_ms = (time.perf_counter() - begin) * 1000
    for name in names:
        runtime.call("delete", "--force", name)
    if codes != {0}:
        raise SystemExit(f"bench: {runtime.name}: a create of {count} at once fails")
    return took_ms


def bundle_for(bundle: pathlib.Path, name: str) -> pathlib.Path:
    """Return a bundle beside this one, with the same rootfs and another cgroup."""
    made = bundle.parent / name
    if not made.exists():
        made.mkdir()
        config = json.loads((bundle / "config.json").read_text())
        config["root"]["path"] = str(bundle / "rootfs")
        config["linux"]["cgroupsPath"] = f"/bench/{name}"
        (made / "config.json").write_text(json.dumps(config))
    return made


def measure_parallel(ours: Runtime, theirs: Runtime, count: int, rounds: int) -> Figure:
    """Measure many creates at once."""
    figure = Figure(f"{count} creates at once", "runc's", 1.0)
    for number in range(rounds + 1):
        progress(f"{count} at once {number} of {rounds}")
        for runtime, times in ((ours, figure.ours), (theirs, figure.theirs)):
            took_ms = all_created(runtime, count)
            if number:
                times.append(took_ms)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=50)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: containers side by side with runc need root", file=sys.stderr)
        return 1
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="aisbx-bench-", dir="/run") as scratch:
        top = pathlib.Path(scratch)
        bundle = make_bundle(top / "true", ["/bin/true"])
        limited(bundle)
        ours = Runtime(str(OURS), top / "ours", bundle)
        theirs = Runtime("runc", top / "runc", bundle)
        try:
            figures.append(measure_three(ours, theirs, options.rounds))
            many = max(options.rounds // 4, 2)
            figures.append(measure_parallel(ours, theirs, options.at_once, many))
            figures.append(measure_podman(top, bundle / "rootfs", options.rounds))
        finally:
            with contextlib.suppress(OSError):  # where cgroups are of v1
                os.rmdir("/sys/fs/cgroup/bench")
    progress("")
    print(f"Linux {platform.release()}, {first_line('runc')}, {first_line('podman')}")
    table([figure.row() for figure in figures])
    return 0


def first_line(program: str) -> str:
    done = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
