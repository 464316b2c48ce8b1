"""Which systemd is asked, and what is said where there is none."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.systemd import instance
from tests import hosts
from tests.oci.systemd.fake import Fake, systemd

SYSTEM = ("unix:path=/run/systemd/private", "unix:path=/run/dbus/system_bus_socket")
RUN = "/run/user/1000"
USER = (f"unix:path={RUN}/systemd/private", f"unix:path={RUN}/bus")
ENVIRONMENT = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS")


@pytest.fixture
def environment():
    """Set variables of this very process, as the runtime reads them."""
    import posix

    before = dict(posix.environ)

    def change(**values):
        for name in ENVIRONMENT:
            posix.environ.pop(name.encode(), None)
        posix.environ.update({name.encode(): value.encode() for name, value in values.items()})

    change()
    yield change
    posix.environ.clear()
    posix.environ.update(before)


@pytest.mark.parametrize("host", [hosts.HYBRID, hosts.NO_CGROUPS])
def test_cgroup_v1_is_refused_with_a_remedy(host):
    with pytest.raises(HostError, match="needs cgroup v2") as failed:
        instance.detect(host)

    assert "systemd.unified_cgroup_hierarchy=1" in failed.value.hint
    assert "--cgroup-manager=cgroupfs" in failed.value.what


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd runs here")
def test_a_host_without_systemd_is_told():
    with pytest.raises(HostError, match="none runs here") as failed:
        instance.detect(hosts.UNIFIED)

    assert "--cgroup-manager=cgroupfs" in failed.value.what


def test_root_has_the_system_instance(environment):
    environment(XDG_RUNTIME_DIR=RUN)

    assert not instance.is_user(hosts.UNIFIED)


def test_a_plain_user_has_an_instance_of_its_own(environment):
    environment()

    assert instance.is_user(hosts.USER)


@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"])
def test_root_of_podmans_user_namespace_has_the_users(environment, name):
    environment(**{name: "x"})

    assert instance.is_user(hosts.ROOTLESS)


@pytest.mark.parametrize("values", [{}, {"XDG_RUNTIME_DIR": ""}])
def test_root_of_a_container_with_a_systemd_has_that_one(environment, values):
    environment(**values)

    assert not instance.is_user(hosts.ROOTLESS)


@pytest.mark.parametrize(
    ("user", "values", "expected"),
    [
        (False, {}, SYSTEM),
        (False, {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/x"}, ("unix:path=/x", *SYSTEM)),
        (False, {"DBUS_SYSTEM_BUS_ADDRESS": SYSTEM[1]}, SYSTEM),
        (False, {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, SYSTEM),
        (True, {"XDG_RUNTIME_DIR": RUN}, USER),
        (True, {"XDG_RUNTIME_DIR": RUN, "DBUS_SESSION_BUS_ADDRESS": USER[1]}, USER),
        (True, {"XDG_RUNTIME_DIR": RUN, "DBUS_SESSION_BUS_ADDRESS": f"{USER[1]},guid=0"}, USER),
        (
            True,
            {"XDG_RUNTIME_DIR": RUN, "DBUS_SESSION_BUS_ADDRESS": "unix:abstract=x"},
            ("unix:abstract=x", *USER),
        ),
    ],
)
def test_systemds_own_socket_comes_first_but_for_an_unusual_address(
    environment, user, values, expected
):
    environment(**values)

    assert expected == instance.addresses(user=user)


def test_without_a_runtime_directory_it_is_the_usual_one(environment):
    environment()

    assert f"unix:path=/run/user/{os.geteuid()}/bus" == instance.addresses(user=True)[1]


def test_the_next_is_tried_and_all_that_failed_are_told(tmp_path):
    one = Fake(tmp_path / "bus", systemd)
    try:
        with instance.connect((f"unix:path={tmp_path}/none", one.address)) as bus:
            assert one.address == bus.address
    finally:
        one.close()
    with pytest.raises(HostError, match="cannot reach systemd") as failed:
        instance.connect((f"unix:path={tmp_path}/none", one.address, "tcp:a=b"))

    assert (
        f"unix:path={tmp_path}/none: ENOENT; {one.address}: ECONNREFUSED; tcp:a=b: EPROTONOSUPPORT"
        == failed.value.why
    )
    assert "--cgroup-manager=cgroupfs" in failed.value.what
