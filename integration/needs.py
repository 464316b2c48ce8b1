"""Marks that skip a test where the machine lacks something.

The conditions are strings, evaluated when the test is about to run: only then has the session its
own view of the machine. `conftest` tells them what `host` is.
"""

from __future__ import annotations

import pytest


def controllers(*names: str) -> pytest.MarkDecorator:
    """Skip where a limit of one of these cgroup controllers cannot be enforced."""
    condition = f"any(host.lacks_controller(name) for name in {names!r})"
    return pytest.mark.skipif(condition, reason=f"no cgroup controller {' or '.join(names)} here")


cgroups = pytest.mark.skipif("host.lacks_cgroups() != ''", reason="no cgroup can be made here")
devices = pytest.mark.skipif("host.lacks_devices() != ''", reason="no device can be made here")
ids = pytest.mark.skipif("host.lacks_ids() != ''", reason="this session has one id only")
rights = pytest.mark.skipif("host.lacks_rights() != ''", reason="a plain user may not do that")
hierarchies_of_v1 = pytest.mark.skipif("host.unified()", reason="no cgroup v1 on this host")
# cgroup v2 filters devices by eBPF and has no such controller.
device_filter = pytest.mark.skipif(
    "not host.unified() and host.lacks_controller('devices')",
    reason="no cgroup controller devices here",
)
unified = pytest.mark.skipif("not host.unified()", reason="no unified cgroup v2 on this host")
