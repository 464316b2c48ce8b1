"""`make run`: `aisbx run` of a real image, and a table of what it has isolated.

Everything it makes lies in build/run of the checkout: a store, and the default image, made of
Debian's packages. A second call finds both. Needs umoci and skopeo, and busybox for the probe.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time

import busybox_image
import isolation

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRATCH = os.path.join(CHECKOUT, "build/run")
LAYOUT = os.path.join(SCRATCH, "image")
STORE = os.path.join(SCRATCH, "store")
AISBX = os.path.join(CHECKOUT, "bin/aisbx")
TAG = "latest"


def say(text: str) -> None:
    print(f"run: {text}", flush=True)


def default_image() -> str:
    """Return the name of an image of busybox-static, made when it is not there."""
    if not os.path.isdir(LAYOUT):
        say("making an OCI image of Debian's busybox-static with umoci")
        new = f"{LAYOUT}.new"
        for path in (new, f"{SCRATCH}/empty"):
            shutil.rmtree(path, ignore_errors=True)
        os.makedirs(SCRATCH, exist_ok=True)
        busybox_image.make_image(new, TAG, f"{SCRATCH}/empty")
        os.rename(new, LAYOUT)
    return f"oci:{LAYOUT}:{TAG}"


def run(image: str, arguments: list[str]) -> int:
    image = image or default_image()
    aisbx = [AISBX, "--store", STORE]
    begin = time.monotonic()
    subprocess.run([*aisbx, "image", "pull", image], check=True, stdout=subprocess.DEVNULL)
    say(f"{image} is in the store after {time.monotonic() - begin:.1f} s: {STORE}")
    say("aisbx run, with a probe inside; what it sees:")
    inside = isolation.seen_inside(aisbx, image)
    print(isolation.table_of(isolation.seen_by_host(), inside), flush=True)
    words = ["run", image, *(["--", *arguments] if arguments else [])]
    say(f"{' '.join([*aisbx, *words])}")
    begin = time.monotonic()
    result = subprocess.run([*aisbx, *words], check=False)
    say(f"exit code {result.returncode} after {time.monotonic() - begin:.2f} s")
    return result.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--image", default="")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    runtime = shutil.which(options.runtime)
    if runtime is None:
        print(f"run: there is no runtime {options.runtime}", file=sys.stderr)
        return 1
    os.environ["AISBX_RUNTIME"] = os.path.abspath(runtime)
    try:
        return run(options.image, options.arguments)
    except subprocess.CalledProcessError as error:
        print(f"run: {error.cmd[0]} failed with exit code {error.returncode}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
