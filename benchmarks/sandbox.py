"""`aisbx run` of a cached image beside `aisbx-runtime run` of a plain directory: `make bench`.

Alternately, in one run, with the same config.json but for the root. The second start of an image is
to cost little more, whatever its size; many sandboxes on one image are to cost the disk of one, and
what they change. Nothing here fails on a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from run import CHECKOUT, OURS, QUIET, Figure, progress, table

AISBX = CHECKOUT / "bin/aisbx"
SIZES_MB = {"10 MB": 10, "1 GB": 1000}
MANY = 100
CHANGED_KB = 100


class Store:
    """A store with images made of directories."""

    def __init__(self, top: pathlib.Path) -> None:
        self.top = top
        self.path = top / "store"
        self.argv = [str(AISBX), "--store", str(self.path)]

    def call(self, *words: str) -> None:
        subprocess.run([*self.argv, *words], check=True, stderr=subprocess.DEVNULL, **QUIET)

    def add(self, name: str, megabytes: int) -> None:
        """Make an image of busybox and so many files of a megabyte."""
        rootfs = self.top / "rootfs"
        (rootfs / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "/bin/busybox", rootfs / "bin/busybox")
        for link in ("true", "sh", "dd"):
            (rootfs / "bin" / link).symlink_to("busybox")
        (rootfs / "data").mkdir()
        line = b"what fills an image\n" * 52429
        for number in range(megabytes):
            (rootfs / f"data/{number}").write_bytes(b"%d\n" % number + line[: (1 << 20) - 8])
        self.call("init", "--rootfs", str(rootfs), name)
        shutil.rmtree(rootfs)
        # The first start, which prepares the others.
        self.call("run", name, "true")

    def disk_kb(self) -> int:
        """Return what the store takes on the disk."""
        out = subprocess.run(["du", "-sk", self.path], check=True, capture_output=True, text=True)
        return int(out.stdout.split()[0])


def plain_bundle(store: Store, name: str) -> pathlib.Path:
    """Return a bundle whose root is a directory, with a sandbox's own config.json otherwise."""
    store.call("run", "--keep", "--name", "plain", name, "true")
    made = store.path / "containers/plain"
    config = json.loads((made / "config.json").read_text())
    lower = next(one for one in config["mounts"][0]["options"] if one.startswith("lowerdir="))
    config["mounts"] = config["mounts"][1:]
    bundle = store.top / "plain"
    bundle.mkdir()
    rootfs = lower.removeprefix("lowerdir=")
    subprocess.run(["cp", "-a", rootfs, bundle / "rootfs"], check=True)
    (bundle / "config.json").write_text(json.dumps(config))
    store.call("destroy", "plain")
    return bundle


def timed(argv: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, check=True, **QUIET)
    return (time.perf_counter() - begin) * 1000


def measure(store: Store, rounds: int) -> list[Figure]:
    """Measure second starts of the small and the large image, and the plain directory between."""
    bundle = plain_bundle(store, "small")
    runtime = [str(OURS), "run", "--bundle", str(bundle), "bench-plain"]
    small = Figure("aisbx run, 10 MB image", "aisbx-runtime run", 1.3)
    large = Figure("aisbx run, 1 GB image", "aisbx-runtime run", 1.3)
    for number in range(rounds):
        progress(f"second starts {number + 1} of {rounds}")
        small.ours.append(timed([*store.argv, "run", "small", "true"]))
        plain = timed(runtime)
        large.ours.append(timed([*store.argv, "run", "large", "true"]))
        small.theirs.append(plain)
        large.theirs.append(plain)
    size = Figure("aisbx run, 1 GB image", "aisbx run, 10 MB image", 1.05)
    size.ours, size.theirs = large.ours, small.ours
    return [small, large, size]


def disk_of_many(store: Store) -> int:
    """Return the kB that a sandbox takes besides its image when it has changed 100 kB."""
    before = store.disk_kb()
    for number in range(MANY):
        progress(f"sandbox {number + 1} of {MANY}")
        words = ["dd", "if=/dev/urandom", "of=/changed", "bs=1024", f"count={CHANGED_KB}"]
        store.call("run", "--keep", "--name", f"many-{number}", "large", *words)
    after = store.disk_kb()
    store.call("destroy", *[f"many-{number}" for number in range(MANY)])
    return (after - before) // MANY


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: sandboxes side by side with plain directories need root", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="aisbx-bench-", dir="/var/tmp") as scratch:
        store = Store(pathlib.Path(scratch))
        for name, title in (("small", "10 MB"), ("large", "1 GB")):
            progress(f"making an image of {title}")
            store.add(name, SIZES_MB[title])
        rows = [figure.row() for figure in measure(store, options.rounds)]
        each = disk_of_many(store)
    progress("")
    if options.json:
        print(json.dumps({"figures": rows, "kb_of_each_of_100": each}, indent=2))
        return 0
    table(rows)
    print(f"each of {MANY} sandboxes on one image takes {each} kB, of which it wrote {CHANGED_KB}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
