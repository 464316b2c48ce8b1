"""Units of systemd, as systemctl tells of them."""

from __future__ import annotations

import os
import time

from integration import host
from integration.runtime import Result, call

TOP = "/sys/fs/cgroup"
WAIT_S = 20


def systemctl(*words: str) -> Result:
    return call(["systemctl", *words])


def shown(unit: str, *names: str) -> dict[str, str]:
    """Return properties of a unit, by name; those of one that is not there are empty."""
    words = [f"--property={name}" for name in names]
    lines = systemctl("show", *words, unit).ok().lines
    return dict(line.split("=", 1) for line in lines)


def listed() -> set[str]:
    """Return all loaded units that bear the mark of this session, failed ones too."""
    words = ["list-units", "--all", "--plain", "--no-legend", "--full", f"*{host.MARK}*"]
    return {line.split()[0] for line in systemctl(*words).ok().lines}


def left() -> set[str]:
    """Return the units that are left when systemd has had time to forget those that ended."""
    deadline = time.monotonic() + WAIT_S
    while listed() and time.monotonic() < deadline:
        time.sleep(0.05)  # there is no file to wait on
    return listed()


def cgroup_of(pid: int | str) -> str:
    return host.text_of(f"/proc/{pid}/cgroup").split("::", 1)[1].strip()


def value(cgroup: str, file: str) -> str:
    return host.text_of(f"{TOP}{cgroup}/{file}").strip()


def exists(cgroup: str) -> bool:
    return os.path.isdir(f"{TOP}{cgroup}")


def unit_of(bundle) -> str:
    return f"test-{bundle.id}.scope"


def cgroup_of_bundle(bundle) -> str:
    return f"/system.slice/{unit_of(bundle)}"


def annotate(bundle, **values):
    bundle.config.setdefault("annotations", {}).update(
        {f"org.systemd.property.{name}": text for name, text in values.items()}
    )
    return bundle
