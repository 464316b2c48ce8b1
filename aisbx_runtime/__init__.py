"""aisbx-runtime: an OCI runtime (`oci`, standard library only) and, around it, the AI sandbox."""

__version__ = "0.1.0"
