"""systemd that is not there, does not answer, or is not the one of these processes."""

from __future__ import annotations

import contextlib
import os
import socket
import time

import pytest

from integration import host
from integration.runtime import PATH, call
from integration.systemd import units
from integration.systemd.units import cgroup_of

SOCKETS = ("/run/systemd/private", "/run/dbus/system_bus_socket")
REMEDY = "--cgroup-manager=cgroupfs"


@contextlib.contextmanager
def out_of_reach(*paths):
    """Hide sockets below a file that nobody listens at, in this session alone."""
    shown = [path for path in paths if os.path.exists(path)]
    for path in shown:
        host.mount("/dev/null", path, flags=host.MS_BIND)
    try:
        yield
    finally:
        for path in shown:
            host.umount(path)


@pytest.fixture
def silent(scratch):
    """A listener that takes connections and says nothing."""
    path = f"{scratch}/silent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)
        yield f"unix:path={path}"
    os.unlink(path)


def ours_only(runtime):
    if "aisbx" not in runtime.name:
        pytest.skip("the peers say it in other words, or not at all")


def test_a_container_is_made_over_the_bus_where_systemds_own_socket_is_not(runtime, bundle):
    with out_of_reach(SOCKETS[0]):
        container = runtime.create(bundle)
        runtime("update", "--pids-limit", "20", bundle.id).ok()
        found = units.value(cgroup_of(container.pid), "pids.max")
        container.delete("--force").ok()

    assert "20" == found


def test_without_any_socket_create_fails_at_once_with_a_remedy(runtime, bundle):
    with out_of_reach(*SOCKETS):
        result = runtime.try_create(bundle)

    assert result.code != 0
    assert set() == units.left()
    ours_only(runtime)
    assert "cannot reach systemd over D-Bus" in result.message
    assert all(path in result.message for path in SOCKETS)
    assert REMEDY in result.message


def test_a_bus_that_never_answers_is_given_up_with_a_remedy(runtime, bundle, silent):
    ours_only(runtime)
    begin = time.monotonic()
    environment = {"PATH": PATH, "DBUS_SYSTEM_BUS_ADDRESS": silent}
    result = runtime.try_create(bundle, env=environment, timeout=55)

    assert result.code != 0
    assert "does not answer" in result.message
    assert silent in result.message
    assert REMEDY in result.message
    assert time.monotonic() - begin > 5  # it was waited for


def test_a_running_container_can_be_deleted_while_systemd_is_out_of_reach(runtime, bundle):
    ours_only(runtime)
    container = runtime.started(bundle)
    cgroup = cgroup_of(container.pid)
    with out_of_reach(*SOCKETS):
        # systemd itself sees the last process go, and removes the cgroup; until it has, delete
        # does not know whether it will.
        deadline = time.monotonic() + units.WAIT_S
        while container.delete("--force").code or os.path.exists(f"{runtime.root}/{bundle.id}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert not units.exists(cgroup)


def test_exec_and_state_need_no_systemd(runtime, bundle):
    container = runtime.started(bundle)
    with out_of_reach(*SOCKETS):
        out = container.sh("echo inside")
        status = container.status

    assert ("inside\n", "running") == (out, status)


def test_an_update_that_systemd_does_not_hear_changes_nothing(runtime, new_scope):
    ours_only(runtime)
    bundle = new_scope(pids={"limit": 50})
    container = runtime.started(bundle)
    with out_of_reach(*SOCKETS):
        result = runtime("update", "--pids-limit", "20", bundle.id)

    assert result.code != 0
    assert REMEDY in result.message
    assert "50" == units.value(cgroup_of(container.pid), "pids.max")


def test_where_no_systemd_runs_it_is_said(runtime, bundle):
    # As in a container without one: the sockets may be there, its mark is not.
    bundle.save()
    words = runtime.argv("create", "--bundle", bundle.path, bundle.id)
    script = 'mount -t tmpfs none /run/systemd && exec "$@"'
    result = call(["unshare", "-m", "sh", "-c", script, "sh", *words])

    assert result.code != 0
    assert "systemd" in result.message
    ours_only(runtime)
    assert REMEDY in result.message
    assert not os.path.exists(f"{runtime.root}/{bundle.id}")


def test_a_systemd_outside_of_the_pid_namespace_is_refused(runtime, bundle):
    # It would take the process that has this pid out there for container init.
    ours_only(runtime)
    bundle.save()
    words = runtime.argv("create", "--bundle", bundle.path, bundle.id)
    result = call(["unshare", "-pf", "--mount-proc", *words])

    assert result.code != 0
    assert "outside of this pid namespace" in result.message
    assert REMEDY in result.message
    assert set() == units.left()


@pytest.mark.parametrize(
    "path",
    ["/a/b", "one", "a.slice:b", "a.slice:b:c:d", "a:b:c", "a--b.slice:b:c", "a/b.slice:b:c"],
)
def test_a_path_of_another_form_is_refused(runtime, bundle, path):
    bundle.config["linux"]["cgroupsPath"] = path
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert set() == units.left()
    ours_only(runtime)
    assert "linux.cgroupsPath" in result.message


def test_the_plan_tells_of_the_scope_and_makes_none(runtime, bundle):
    ours_only(runtime)
    bundle.save()
    result = runtime("plan", bundle.path).ok()

    assert f"start scope test-{bundle.id}.scope" in result.out
    assert set() == units.listed()


def test_features_and_doctor_tell_of_it(runtime):
    ours_only(runtime)

    assert '"systemd":true,"systemdUser":true' in runtime("features").ok().out.replace(" ", "")
    assert "systemd manager: the system's, at unix:path=/run/systemd/private" in (
        runtime("doctor").out
    )
