"""A snapshot of 1 MB that changed in a rootfs of 1 GB, side by side with `umoci repack` of it.

Both start from one image, made here. umoci looks at the whole rootfs; a snapshot at what changed.
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

from benchmarks.run import QUIET, Figure, progress, table

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
FILES = 1000
FILE_BYTES = 1 << 20
GOAL = 0.05


def call(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, **QUIET)


def took_ms(*words: object) -> float:
    start = time.monotonic()
    call(*words)
    return (time.monotonic() - start) * 1000


def make_image(top: pathlib.Path) -> str:
    """Make an image of 1000 files of 1 MB, and busybox; return its layout and tag."""
    layout, bundle = top / "layout", top / "bundle"
    call("umoci", "init", "--layout", layout)
    call("umoci", "new", "--image", f"{layout}:x")
    call("umoci", "unpack", "--image", f"{layout}:x", bundle)
    rootfs = bundle / "rootfs"
    (rootfs / "bin").mkdir()
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    for number in range(FILES):
        place = rootfs / f"data/{number % 50}"
        place.mkdir(parents=True, exist_ok=True)
        # Packs quickly; hashing takes what it takes.
        (place / f"{number}").write_bytes(str(number).encode() * (FILE_BYTES // len(str(number))))
    # The bundle goes on from what it has just made.
    call("umoci", "repack", "--refresh-bundle", "--image", f"{layout}:x", bundle)
    return f"{layout}:x"


def measure(top: pathlib.Path, rounds: int) -> Figure:
    progress("making an image of 1 GB")
    image = make_image(top)
    aisbx = [CHECKOUT / "bin/aisbx", "--store", top / "store"]
    progress("pulling it")
    call(*aisbx, "image", "pull", f"oci:{image}")
    name = f"bench-{os.getpid()}"
    command = ("/bin/busybox", "sleep", "100000")
    call(*aisbx, "run", "--detach", "--name", name, f"oci:{image}", *command)
    figure = Figure("snapshot, 1 MB of 1 GB", "umoci repack", GOAL)
    try:
        for number in range(rounds + 1):
            progress(f"round {number} of {rounds}")
            change = os.urandom(FILE_BYTES)
            inside = top / "store/containers" / name / "upper/changed"
            script = "cat >/changed"
            subprocess.run(
                [*aisbx, "exec", name, "/bin/busybox", "sh", "-c", script],
                input=change, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            assert change == inside.read_bytes()
            (top / "bundle/rootfs/changed").write_bytes(change)
            ours = took_ms(*aisbx, "snapshot", "create", name)
            words = ("--refresh-bundle", "--image", image, top / "bundle")
            theirs = took_ms("umoci", "repack", *words)
            if number > 0:
                figure.ours.append(ours)
                figure.theirs.append(theirs)
    finally:
        call(*aisbx, "destroy", name)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: containers need root", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="aisbx-bench-", dir="/var/tmp") as scratch:
        figure = measure(pathlib.Path(scratch), options.rounds)
    progress("")
    rows = [figure.row()]
    if options.json:
        print(json.dumps({"figures": rows}, indent=2))
    else:
        table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
