"""aisbx-runtime: an OCI runtime (`oci`, standard library only) and, around it, the AI sandbox."""

from __future__ import annotations

__version__ = "0.1.0"
