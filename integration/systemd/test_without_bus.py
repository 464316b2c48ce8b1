"""The system's bus is stopped. The last file of all: what holds a connection does not come back.

Started anew it is another bus, to which neither the systemd of users nor podman find their way.
"""

from __future__ import annotations

import pytest

from integration import host  # noqa: F401  (the condition below)
from integration.systemd.units import cgroup_of, systemctl, value

pytestmark = pytest.mark.skipif(
    "host.lacks_guest()", reason="no guest of the lab: its bus may not be stopped"
)


def test_a_container_lives_and_ends_while_the_bus_is_down(runtime, bundle):
    systemctl("stop", "dbus.socket", "dbus.service")
    try:
        container = runtime.started(bundle)
        found = cgroup_of(container.pid)
        runtime("update", "--pids-limit", "20", bundle.id).ok()
        limit = value(found, "pids.max")
        container.delete("--force").ok()
    finally:
        systemctl("start", "dbus.socket", "dbus.service").ok()

    assert (f"/system.slice/test-{bundle.id}.scope", "20") == (found, limit)
