"""containerd with SystemdCgroup: scopes named `slice:prefix:name`."""

from __future__ import annotations

import pytest

from integration import needs
from integration.systemd import units

# ctr asks for cpu shares in every container.
pytestmark = needs.controllers("cpu")


@pytest.fixture
def ctr(systemd, ctr_session, _no_leaks):
    yield ctr_session
    ctr_session.clean()

    assert units.left() == set()


def up(ctr, *flags):
    """Start a container in the background; return its name and the name of its scope."""
    name = f"{units.host.MARK}-{ctr.name()}"
    path = f"system.slice:ctr:{name}"
    words = ctr.argv(
        ["-d", "--runc-systemd-cgroup", f"--cgroup={path}", *flags], name, "sleep", "99"
    )
    units.call(words).ok()
    return name, f"ctr-{name}.scope"


def pid_of(ctr, name) -> str:
    return next(line.split()[1] for line in ctr("tasks", "ls").ok().lines if line.startswith(name))


def test_a_container_is_in_its_scope_with_its_limits(ctr):
    name, unit = up(ctr, "--memory-limit=67108864")
    cgroup = units.cgroup_of(pid_of(ctr, name))

    assert f"/system.slice/{unit}" == cgroup
    assert str(64 << 20) == units.value(cgroup, "memory.max")
    assert {"MemoryMax": str(64 << 20)} == units.shown(unit, "MemoryMax")


def test_exec_metrics_and_pause(ctr):
    name, unit = up(ctr)
    out = ctr("tasks", "exec", "--exec-id", "e", name, "cat", "/proc/self/cgroup").ok().out
    metrics = ctr("tasks", "metrics", name)
    ctr("tasks", "pause", name).ok()
    frozen = units.value(f"/system.slice/{unit}", "cgroup.events")
    ctr("tasks", "resume", name).ok()

    assert f"0::/system.slice/{unit}\n" == out
    assert 0 == metrics.code
    assert "frozen 1" in frozen


def test_after_the_end_there_is_no_unit(ctr):
    name, unit = up(ctr)
    ctr("tasks", "delete", "--force", name).ok()

    assert unit not in units.left()
