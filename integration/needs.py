"""Marks that skip a test where the machine lacks something.

The conditions are strings, evaluated in the test's module when the test is about to run: only then
has the session its own view of the machine.
"""

from __future__ import annotations

import pytest


def controllers(*names: str) -> pytest.MarkDecorator:
    """Skip where a limit of one of these cgroup controllers cannot be enforced."""
    condition = f"any(host.lacks_controller(name) for name in {names!r})"
    return pytest.mark.skipif(condition, reason=f"no cgroup controller {' or '.join(names)} here")


hierarchies_of_v1 = pytest.mark.skipif("host.unified()", reason="no cgroup v1 on this host")
# cgroup v2 filters devices by eBPF and has no such controller.
device_filter = pytest.mark.skipif(
    "not host.unified() and host.lacks_controller('devices')",
    reason="no cgroup controller devices here",
)
