"""Network devices that are moved into the container."""

from __future__ import annotations

import subprocess

import pytest

from integration import host
from integration.runtime import call

ADDRESSES = "ip -o addr show dev {}"


class Network:
    """A network namespace that a sleeping process holds, in which the runtime is called."""

    def __init__(self) -> None:
        words = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 1000"]
        self.holder = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"
        self.path = f"/proc/{self.holder.pid}/ns/net"

    def end(self) -> None:
        self.holder.kill()
        self.holder.wait()
        assert self.holder.stdout is not None
        self.holder.stdout.close()

    def inside(self, *words: str):
        return call(["nsenter", f"--net={self.path}", *words])

    def ip(self, text: str) -> str:
        return self.inside("ip", *text.split()).ok().out

    def names(self) -> set[str]:
        lines = self.ip("-o link show").splitlines()
        return {line.split(":")[1].strip().partition("@")[0] for line in lines}


@pytest.fixture
def new_network(_no_leaks):
    reason = (
        host.lacks_rights()
        or host.lacks_program("ip", "nsenter", "unshare")
        or host.lacks_namespace("--net")
    )
    if reason:
        pytest.skip(reason)
    made: list[Network] = []

    def make() -> Network:
        made.append(Network())
        return made[-1]

    yield make
    for network in made:
        network.end()


@pytest.fixture
def network(new_network):
    """A network with a device pair, near and far."""
    made = new_network()
    if made.inside("ip", "link", "add", "near", "type", "veth", "peer", "name", "far").code:
        pytest.skip("the kernel has no veth")
    return made


def run(runtime, network, bundle, script):
    bundle.script(script).save()
    runtime.made.append(bundle.id)
    return network.inside(*runtime.argv("run", "--bundle", bundle.path, bundle.id))


def move(bundle, **devices: str | None):
    bundle.config["linux"]["netDevices"] = {
        name: {} if new is None else {"name": new} for name, new in devices.items()
    }
    return bundle


def test_a_device_is_moved_and_up(runtime, network, bundle):
    result = run(runtime, network, move(bundle, near=None), "ip link show near").ok()

    assert "UP" in result.out.partition("<")[2].partition(">")[0].split(",")


def test_it_is_gone_outside(runtime, network, bundle):
    network.ip("link set far up")
    bundle.script("exec sleep 1000").save()
    runtime.made.append(bundle.id)
    move(bundle, near=None).save()
    network.inside(*runtime.argv("create", "--bundle", bundle.path, bundle.id)).ok()

    assert network.names() == {"lo", "far"}


def test_it_gets_its_new_name(runtime, network, bundle):
    result = run(runtime, network, move(bundle, near="eth7"), "ls /sys/class/net")

    assert result.ok().out.split() == ["eth7", "lo"]


def test_a_template_is_filled_by_the_kernel(runtime, network, bundle):
    move(bundle, near="net%d", far="net%d")

    assert run(runtime, network, bundle, "ls /sys/class/net").ok().out.split() == [
        "lo", "net0", "net1",
    ]  # fmt: skip


def test_permanent_global_addresses_come_along(runtime, network, bundle):
    network.ip("addr add 192.0.2.7/24 brd 192.0.2.255 dev near")
    network.ip("addr add 192.0.2.8/32 dev near")
    network.ip("-6 addr add 2001:db8::7/64 dev near nodad")
    network.ip("addr add 169.254.1.1/16 scope link dev near")
    network.ip("addr add 192.0.2.9/32 valid_lft 1000 preferred_lft 1000 dev near")
    network.ip("link set near up")
    out = run(runtime, network, move(bundle, near="eth0"), ADDRESSES.format("eth0")).ok().out

    assert "inet 192.0.2.7/24 brd 192.0.2.255" in out
    assert "inet 192.0.2.8/32" in out
    assert "inet6 2001:db8::7/64" in out
    assert "169.254.1.1" not in out
    assert "192.0.2.9" not in out


def test_other_attributes_stay(runtime, network, bundle):
    network.ip("link set near mtu 1337 address 02:00:00:00:00:42")
    out = run(runtime, network, move(bundle, near=None), "ip link show near").ok().out

    assert "mtu 1337" in out
    assert "02:00:00:00:00:42" in out


def test_traffic_passes(runtime, network, bundle):
    network.ip("addr add 192.0.2.1/24 dev far")
    network.ip("link set far up")
    network.ip("addr add 192.0.2.2/24 dev near")
    bundle.all_capabilities("CAP_NET_RAW")

    run(runtime, network, move(bundle, near="eth0"), "ping -c 1 -W 5 192.0.2.1").ok()


def test_a_device_moves_into_a_network_that_is_joined(runtime, new_network, network, bundle):
    other = new_network()
    move(bundle.namespace("network", other.path), near="eth0")
    run(runtime, network, bundle, "true").ok()

    # Never moved back: the namespace outlives the container, and so does what is in it.
    assert other.names() == {"lo", "eth0"}
    assert network.names() == {"lo", "far"}


def test_an_index_that_is_taken_in_there_is_no_obstacle(runtime, new_network, network, bundle):
    other = new_network()
    for number in range(5):
        other.ip(f"link add a{number} type veth peer name b{number}")
    network.ip("addr add 192.0.2.7/24 dev near")
    move(bundle.namespace("network", other.path), near="eth0")
    out = run(runtime, network, bundle, ADDRESSES.format("eth0")).ok().out

    assert "inet 192.0.2.7/24" in out


def test_a_name_that_is_taken_in_there_is_an_error_and_the_device_stays(
    runtime, new_network, network, bundle
):
    other = new_network()
    other.ip("link add eth0 type veth peer name eth1")
    move(bundle.namespace("network", other.path), near="eth0")
    result = run(runtime, network, bundle, "true")

    assert result.code != 0
    assert "linux.netDevices['near']" in result.message
    assert "EEXIST" in result.message
    assert network.names() == {"lo", "near", "far"}


def test_a_device_whose_old_name_is_taken_in_there_is_moved(runtime, new_network, network, bundle):
    other = new_network()
    other.ip("link add near type veth peer name eth1")
    move(bundle.namespace("network", other.path), near="eth0")
    run(runtime, network, bundle, "true").ok()

    assert other.names() == {"lo", "near", "eth1", "eth0"}


def test_a_missing_device_is_an_error_that_names_it(runtime, network, bundle):
    result = run(runtime, network, move(bundle, nosuch=None), "true")

    assert result.code != 0
    assert "there is no network device nosuch" in result.message
    assert "linux.netDevices['nosuch']" in result.message


def test_a_device_that_cannot_be_moved_is_an_error(runtime, network, bundle):
    result = run(runtime, network, move(bundle, lo="eth0"), "true")

    assert result.code != 0
    assert "RTM_SETLINK: EINVAL" in result.message


def test_a_container_with_a_user_namespace_gets_its_device(runtime, network, bundle):
    network.ip("addr add 192.0.2.7/24 dev near")
    bundle.user_namespace()
    out = run(runtime, network, move(bundle, near="eth0"), ADDRESSES.format("eth0")).ok().out

    assert "inet 192.0.2.7/24" in out


def test_hooks_run_in_the_namespace_of_the_runtime_afterwards(runtime, network, bundle):
    bundle.hook("createRuntime", "/bin/sh", "-c", "readlink /proc/self/ns/net >&2; false")
    result = run(runtime, network, move(bundle, near=None), "true")
    own = network.inside("readlink", "/proc/self/ns/net").ok().out.strip()

    assert own in result.message
