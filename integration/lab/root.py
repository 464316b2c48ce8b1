"""The root of the guest with systemd: a Debian with the newest engines, made by mmdebstrap."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading

from integration import debian
from integration.lab import cache

SUITE = os.environ.get("AISBX_LAB_SUITE", "forky")
HERE = os.path.dirname(os.path.abspath(__file__))
CUSTOMIZE, PACKAGES = f"{HERE}/guest/customize.sh", f"{HERE}/guest/packages.txt"
BUILD_S = 1200  # 80 to 130 s were measured
# What no test reads: a third of the size.
EXCLUDED = ("doc/*", "man/*", "info/*", "locale/*", "i18n/*", "gir-1.0/*")


def text_of(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def lacks() -> str:
    """Return why this guest cannot be built here, or ""."""
    if shutil.which("mmdebstrap") is None:
        return "not installed: mmdebstrap (hint: make setup-lab)"
    return ""


def packages(text: str) -> list[str]:
    """Return the names in packages.txt: words of the lines that are no comments."""
    lines = (line.split("#", 1)[0] for line in text.splitlines())
    return [word for line in lines for word in line.split()]


def name() -> str:
    return f"root-{SUITE}-{cache.key(SUITE, text_of(PACKAGES), text_of(CUSTOMIZE))}"


def command(directory: str) -> list[str]:
    """Return the words of mmdebstrap."""
    uri, options = debian.mirror()
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        *(f"--aptopt={line}" for line in debian.settings()),
        '--aptopt=APT::Sandbox::User "root"',  # another user has no way into the cache
        *(f"--dpkgopt=path-exclude=/usr/share/{path}" for path in EXCLUDED),
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(packages(text_of(PACKAGES)))}",
        f'--customize-hook=sh {CUSTOMIZE} "$1"',
        SUITE,
        directory,
        f"deb {options} {uri} {SUITE} main",
    ]


def build(directory: str) -> None:
    """Make the root in the directory; its progress goes to stdout."""
    cache.say(f"building a Debian {SUITE} with systemd and engines (about 2 minutes, 1.5 GB)")
    os.rmdir(directory)  # mmdebstrap makes its own
    process = subprocess.Popen(
        command(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    timer = threading.Timer(BUILD_S, process.kill)
    timer.start()
    tail: list[str] = []
    try:
        for line in process.stdout:
            tail = [*tail[-40:], line]
            if line.startswith(("I:", "E:", "W:")):
                cache.say(line.strip())
        status = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
    if status:
        sys.stderr.writelines(tail)
        raise SystemExit(f"lab: mmdebstrap ends with {status}")
