"""Network devices: from config.json to steps. The moves are in integration/lifecycle."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan import net_devices
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.spec.model import Linux, Namespace, NetDevice, Process, Root, Spec
from tests import hosts


def test_one_step_for_each():
    steps = net_devices.steps((NetDevice("near", "near"), NetDevice("far", "eth%d")))

    assert [
        ("move network device near into the container", "linux.netDevices['near']"),
        ("move network device far into the container as eth%d", "linux.netDevices['far']"),
    ] == [(one.describe(), one.origin) for one in steps]


@pytest.mark.parametrize("name", ["%", "eth%s", "%d%d", "a%%d", "%d%"])
def test_a_template_that_the_kernel_would_refuse_is_refused(name):
    # The kernel looks at it when the device has been moved already.
    with pytest.raises(SpecError, match=r"^linux\.netDevices\['near'\]\.name: "):
        net_devices.steps((NetDevice("near", name),))


def test_they_are_moved_while_the_child_waits():
    spec = Spec(
        "1.3.0",
        Root("rootfs"),
        process=Process(("true",), "/"),
        linux=Linux(
            namespaces=(Namespace("network"), Namespace("mount")),
            net_devices=(NetDevice("near", "eth0"),),
        ),
    )
    plan = build(spec, hosts.UNIFIED, "one", "/bundle", Options("/cache"))

    assert "linux.netDevices['near']" in [one.origin for one in plan.phase("adopt")]


def test_an_index_that_is_free_is_kept():
    assert 7 == net_devices._free_index(7, [1, 8])


def test_an_index_that_is_taken_becomes_a_new_one():
    assert 10 == net_devices._free_index(7, [1, 7, 9])
