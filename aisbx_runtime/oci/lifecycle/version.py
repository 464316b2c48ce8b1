"""--version: what docker, podman and go-runc read of a runtime (contract.md 5)."""

from __future__ import annotations

import sys

import aisbx_runtime
from aisbx_runtime.oci import report
from aisbx_runtime.oci import system as os

# The newest version of the runtime spec whose fields are read.
SPEC_VERSION = "1.3.0"
# Beside the package's own file; written by a build from a git checkout (`install`).
COMMIT_FILE = "commit"


def show() -> int:
    """Print version, commit, spec and interpreter."""
    python = ".".join([str(part) for part in sys.version_info[:3]])
    report.out(
        f"aisbx-runtime version {aisbx_runtime.__version__}\n"
        f"{_commit_line()}"
        f"spec: {SPEC_VERSION}\n"
        f"python: {python} ({sys.executable})\n"
    )
    return 0


def _commit_line() -> str:
    try:
        with open(f"{os.path.dirname(aisbx_runtime.__file__)}/{COMMIT_FILE}") as file:
            text = file.read().strip()
    except FileNotFoundError:
        # Not built from git: then there is nothing true to say.
        return ""
    return f"commit: {text}\n"
