"""Programs of others that some verbs need: criu."""

from __future__ import annotations

from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK, Check
from aisbx_runtime.oci.probe.users import program

# 3.x cannot dump on the kernels of 2025 and later.
_CRIU = 4


def checks() -> list[Check]:
    """Return the checks of this topic."""
    return [_criu()]


def _criu() -> Check:
    path = program("criu")
    if path is None:
        return Check(
            "criu", "criu", MISSING, "not installed", "there is no checkpoint and no restore",
            command="apt-get install -t forky criu",
        )  # fmt: skip
    said = _version_of(path)
    number = said.rpartition(" ")[2].split(".")[0]
    if not number.isdigit() or int(number) < _CRIU:
        return Check(
            "criu", "criu", LIMITED, f"{path}: {said or 'does not run'}",
            "checkpoint fails on new kernels", command="apt-get install -t forky criu",
        )  # fmt: skip
    return Check("criu", "criu", OK, f"{path}: {said}")


def _version_of(path: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            [path, "--version"], env={}, capture_output=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        # Not a program of this machine: as good as none.
        return ""
    return done.stdout.decode(errors="replace").split("\n", 1)[0].strip()
