"""`make run`: an image becomes a bundle, a container runs in it, and what was isolated is printed.

Everything it makes lies in build/run of the checkout. Needs root, umoci, and for IMAGE= skopeo.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

import busybox_image
import isolation

SCRATCH = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build/run"
)
LAYOUT = os.path.join(SCRATCH, "image")
BUNDLE = os.path.join(SCRATCH, "bundle")
TAG = "latest"


def say(text: str) -> None:
    print(f"run: {text}", flush=True)


def get_image(image: str) -> None:
    """Make build/run/image, an OCI layout, from busybox-static or from what skopeo reaches."""
    if image:
        say(f"copying {image} with skopeo")
        subprocess.run(["skopeo", "copy", image, f"oci:{LAYOUT}:{TAG}"], check=True)
    else:
        say("making an OCI image of Debian's busybox-static with umoci")
        busybox_image.make_image(LAYOUT, TAG, os.path.join(SCRATCH, "empty"))


def unpack() -> None:
    say(f"unpacking it to a bundle with umoci: {BUNDLE}")
    subprocess.run(["umoci", "unpack", "--image", f"{LAYOUT}:{TAG}", BUNDLE], check=True)


def adapt(arguments: list[str]) -> dict:
    """Set the command in umoci's config.json, a terminal where there is one, a cgroup namespace."""
    path = os.path.join(BUNDLE, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if arguments:
        config["process"]["args"] = arguments
    config["process"]["terminal"] = sys.stdin.isatty() and sys.stdout.isatty()
    config["hostname"] = "aisbx-demo"
    config["linux"]["namespaces"].append({"type": "cgroup"})
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    return config


def run(runtime: str, image: str, arguments: list[str]) -> int:
    begin = time.monotonic()
    shutil.rmtree(SCRATCH, ignore_errors=True)
    os.makedirs(SCRATCH)
    get_image(image)
    unpack()
    config = adapt(arguments)
    say(f"image and bundle are ready after {time.monotonic() - begin:.1f} s")
    container_id = f"aisbx-demo-{os.getpid()}"
    say(f"{runtime} run, with a probe inside; what it sees:")
    inside = isolation.seen_inside(runtime, BUNDLE, container_id)
    print(isolation.table_of(isolation.seen_by_host(), inside), flush=True)
    say(f"{runtime} run --bundle {BUNDLE} {container_id}: {' '.join(config['process']['args'])}")
    result = subprocess.run([runtime, "run", "--bundle", BUNDLE, container_id], check=False)
    say(f"exit code {result.returncode}")
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
    try:
        return run(os.path.abspath(runtime), options.image, options.arguments)
    except subprocess.CalledProcessError as error:
        print(f"run: {error.cmd[0]} failed with exit code {error.returncode}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
