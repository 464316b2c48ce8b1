"""--version: what docker, podman and go-runc read of a runtime (contract.md 5)."""

from __future__ import annotations

import sys

import aisbx_runtime
from aisbx_runtime.oci import report

# The newest version of the runtime spec whose fields are read.
SPEC_VERSION = "1.3.0"


def show() -> int:
    """Print version, spec and interpreter."""
    python = ".".join([str(part) for part in sys.version_info[:3]])
    report.out(
        f"aisbx-runtime version {aisbx_runtime.__version__}\n"
        "commit: unknown\n"
        f"spec: {SPEC_VERSION}\n"
        f"python: {python} ({sys.executable})\n"
    )
    return 0
