"""Device rules, enforced by the kernel: the devices controller of v1, a program on v2."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from aisbx_runtime.oci.errors import KernelError, StepError
from aisbx_runtime.oci.kernel import bpf
from aisbx_runtime.oci.plan import cgroup_devices
from aisbx_runtime.oci.plan.cgroup_v2 import FilterDevices
from aisbx_runtime.oci.spec.model import Device, DeviceRule, Linux, Resources
from tests.oci.cgroups import DENY_ALL, Container, place, v2_place

pytestmark = pytest.mark.root

# /dev/kmsg is a character device that root may open, and that no default rule allows.
PROBE = """
    import stat
    directory = sys.stdin.readline().strip()
    def tell(name, call):
        try:
            call()
            print(name, "yes")
        except PermissionError:
            print(name, "no")
        except OSError:
            # Allowed, but there is no such device (ENXIO).
            print(name, "yes")
    def mknod():
        os.mknod(directory + "/x", stat.S_IFBLK | 0o600, os.makedev(7, 9))
    tell("null", lambda: os.open("/dev/null", os.O_RDWR))
    tell("urandom", lambda: os.open("/dev/urandom", os.O_RDONLY))
    tell("ptmx", lambda: os.open("/dev/ptmx", os.O_RDWR))
    tell("kmsg-read", lambda: os.open("/dev/kmsg", os.O_RDONLY))
    tell("kmsg-write", lambda: os.open("/dev/kmsg", os.O_WRONLY))
    tell("mknod", mknod)
    tell("made", lambda: os.open(directory + "/x", os.O_RDONLY | os.O_NONBLOCK))
"""


def probe(one: Container, directory: str) -> dict[str, str]:
    child = one.start(PROBE)
    output, _ = child.communicate(f"{directory}\n")
    assert child.returncode == 0, output
    return dict(line.split() for line in output.splitlines())


def kmsg_number() -> tuple[int, int]:
    facts = os.stat("/dev/kmsg")
    assert stat.S_ISCHR(facts.st_mode)
    return os.major(facts.st_rdev), os.minor(facts.st_rdev)


def test_rules_that_deny_all_leave_the_default_devices(container, tmp_path):
    seen = probe(container(Resources(devices=(DENY_ALL,))), str(tmp_path))

    assert {
        "null": "yes",
        "urandom": "yes",
        "ptmx": "yes",
        "kmsg-read": "no",
        "kmsg-write": "no",
        "mknod": "yes",
        "made": "no",
    } == seen


def test_without_rules_nothing_is_denied(container, tmp_path):
    seen = probe(container(), str(tmp_path))

    assert {"yes"} == {seen[name] for name in ("null", "kmsg-read", "kmsg-write", "mknod")}


def test_a_rule_grants_what_it_says_and_no_more(container, tmp_path):
    major, minor = kmsg_number()
    rules = (DENY_ALL, DeviceRule(allow=True, type="c", major=major, minor=minor, access="r"))
    seen = probe(container(Resources(devices=rules)), str(tmp_path))

    assert ("yes", "no") == (seen["kmsg-read"], seen["kmsg-write"])


def test_a_later_rule_takes_back_what_an_earlier_one_granted(container, tmp_path):
    major, minor = kmsg_number()
    rules = (
        DENY_ALL,
        DeviceRule(allow=True, type="c", major=major, minor=minor, access="rw"),
        DeviceRule(allow=False, type="c", major=major, minor=None, access="w"),
    )
    seen = probe(container(Resources(devices=rules)), str(tmp_path))

    assert ("yes", "no") == (seen["kmsg-read"], seen["kmsg-write"])


def test_allowing_all_but_one_device(container, tmp_path):
    major, minor = kmsg_number()
    allow_all = DeviceRule(allow=True, type="a", major=None, minor=None, access="rwm")
    rules = (allow_all, DeviceRule(allow=False, type="c", major=major, minor=minor, access="w"))
    seen = probe(container(Resources(devices=rules)), str(tmp_path))

    assert ("yes", "no") == (seen["kmsg-read"], seen["kmsg-write"])


def test_a_node_of_the_container_does_not_open_its_device(container, tmp_path):
    one = container(
        Resources(devices=(DENY_ALL,)), devices=(Device("c", "/dev/kmsg", *kmsg_number()),)
    )
    seen = probe(one, str(tmp_path))

    assert ("no", "no") == (seen["kmsg-read"], seen["kmsg-write"])


def test_device_rules_for_a_cgroup_with_children_say_so_on_v1(container):
    if place("devices").version == 2:
        pytest.skip("v2 takes them")
    one = container(Resources(devices=(DENY_ALL,)))
    os.mkdir(f"{place('devices').path}/child")
    with pytest.raises(StepError) as caught:
        one.limit()

    assert "linux.resources.devices" == caught.value.where
    assert "child cgroups" in caught.value.hint


def test_the_device_filter_is_replaced_and_not_added(container):
    one = container()
    path = v2_place().path
    rules = cgroup_devices.rules_of(Linux(resources=Resources(devices=(DENY_ALL,))))
    for _ in range(3):
        FilterDevices("", path, rules).apply(one.world)
    fd = os.open(path, os.O_RDONLY)
    try:
        programs = bpf.device_programs(fd)
    finally:
        os.close(fd)

    assert len(programs) == 1


def test_a_program_that_the_verifier_refuses_is_an_error():
    v2_place()
    with pytest.raises(KernelError) as caught:
        # Exits without a verdict in r0.
        bpf.load_device_program(bytes([0x95, 0, 0, 0, 0, 0, 0, 0]), "broken")

    assert errno.EACCES == caught.value.errno
