"""How each binding of libseccomp is loaded, by name."""

from __future__ import annotations

from aisbx_runtime.oci.seccomp import compiler

BINDINGS = {"seccomp": compiler._load_seccomp, "pyseccomp": compiler._load_pyseccomp}
