"""podman's default network (a bridge), in a network namespace that dies with the test."""

from __future__ import annotations

import pytest

from integration import host
from integration.engines.podman import IMAGE
from integration.runtime import call

# The bridge, its addresses and firewall rules are made in here.
APART = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


@pytest.fixture
def bridged(podman, tmp_path):
    """Return a function that runs podman with its network made apart from the host."""
    flags = ["--network-config-dir", str(tmp_path)]

    def run(*words):
        argv = podman.argv(*flags, "run", "--rm", *words)
        return call([*APART, *argv], env=podman.environment)

    reason = host.lacks_program("runc")
    if reason:
        pytest.skip(f"{reason}: needed to tell whether a bridge can be made here")
    probe = podman.argv(*flags, "run", "--rm", IMAGE, "true", runtime="runc")
    done = call([*APART, *probe], env=podman.environment)
    if done.code:
        pytest.skip(f"no bridge can be made on this host: {done.err.strip()[-200:]}")
    return run


def test_the_default_network_has_an_address(bridged):
    result = bridged(IMAGE, "ip", "address", "show", "eth0").ok()

    assert "inet 10." in result.out


def test_the_default_network_has_a_route(bridged):
    assert "default via 10." in bridged(IMAGE, "ip", "route").ok().out


def test_a_port_is_published(bridged):
    assert bridged("-p", "8080:80", IMAGE, "true").code == 0
