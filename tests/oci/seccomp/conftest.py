"""Both bindings of libseccomp, for the tests that must hold with either."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.seccomp import compiler
from tests.oci.seccomp.bindings import BINDINGS


@pytest.fixture(params=BINDINGS)
def binding(request, monkeypatch):
    """Compile with one binding, then with the other."""
    try:
        loaded = BINDINGS[request.param]()
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"{request.param}: {error}")
    monkeypatch.setattr(compiler, "load_binding", lambda: loaded)
    return loaded
