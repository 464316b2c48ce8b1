"""Namespaces: new, joined by path, and those of the caller."""

from __future__ import annotations

import os
import subprocess

import pytest

from integration import host, needs
from integration.differences import known_of_runc

# config.json says network and mount, /proc says net and mnt.
LINKS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt"}


def own(link):
    return os.readlink(f"/proc/self/ns/{link}")


@pytest.mark.parametrize("kind", LINKS)
def test_a_listed_namespace_is_new(runtime, bundle, kind):
    assert runtime.started(bundle).namespace(LINKS[kind]) != own(LINKS[kind])


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid"])
def test_a_namespace_that_is_not_listed_is_the_callers(runtime, bundle, kind):
    bundle.without_namespace(kind)
    bundle.config.pop("hostname")

    assert runtime.started(bundle).namespace(LINKS[kind]) == own(LINKS[kind])


@pytest.fixture
def other(runtime, new_bundle):
    """A running container whose namespaces are joined."""
    bundle = new_bundle().namespace("cgroup")
    return runtime.started(bundle)


@needs.rights
@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts"])
def test_a_namespace_is_joined_by_path(runtime, bundle, other, kind):
    bundle.namespace(kind, f"/proc/{other.pid}/ns/{LINKS[kind]}")
    bundle.config.pop("hostname")
    container = runtime.started(bundle)

    assert container.namespace(LINKS[kind]) == other.namespace(LINKS[kind])
    container.delete("--force").ok()
    container.wait()


@needs.rights
def test_four_namespaces_are_joined_at_once(runtime, bundle, other):
    # What podman sends for a member of a pod.
    for kind in ("network", "ipc", "uts", "pid"):
        bundle.namespace(kind, f"/proc/{other.pid}/ns/{LINKS[kind]}")
    bundle.config.pop("hostname")
    container = runtime.started(bundle)
    joined = {kind: container.namespace(LINKS[kind]) for kind in LINKS if kind != "mount"}
    container.delete("--force").ok()
    container.wait()

    assert joined == {kind: other.namespace(LINKS[kind]) for kind in joined}


@needs.rights
def test_a_joined_pid_namespace_shows_the_other_container(runtime, bundle, other):
    bundle.namespace("pid", f"/proc/{other.pid}/ns/pid")

    assert "sleep" in runtime.run(bundle, "cat /proc/1/comm").out


def test_a_joined_pid_namespace_does_not_make_init_pid_1(runtime, bundle, other):
    bundle.namespace("pid", f"/proc/{other.pid}/ns/pid")

    assert runtime.run(bundle, "echo $$").out != "1\n"


@pytest.mark.skipif(host.lacks_namespace("--cgroup") != "", reason="no cgroup namespaces here")
def test_a_cgroup_namespace_is_new(runtime, bundle):
    bundle.namespace("cgroup")

    assert runtime.started(bundle).namespace("cgroup") != own("cgroup")


@pytest.mark.skipif(host.lacks_namespace("--cgroup") != "", reason="no cgroup namespaces here")
def test_a_new_cgroup_namespace_is_rooted_in_the_cgroup_of_the_container(runtime, bundle):
    bundle.namespace("cgroup")
    lines = runtime.run(bundle, "cat /proc/self/cgroup").ok().lines

    assert {line.split(":")[2] for line in lines} == {"/"}


@needs.rights
@pytest.mark.skipif(host.lacks_namespace("--cgroup") != "", reason="no cgroup namespaces here")
def test_a_cgroup_namespace_is_joined_by_path(runtime, bundle, other):
    bundle.namespace("cgroup", f"/proc/{other.pid}/ns/cgroup")

    assert runtime.started(bundle).namespace("cgroup") == other.namespace("cgroup")


@needs.rights
def test_a_network_namespace_is_joined_by_a_bind_mounted_file(runtime, bundle, scratch):
    # podman: /run/netns/netns-...
    path = f"{scratch}/netns"
    with open(path, "w"):
        pass
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; read x"], stdin=-1, stdout=-1) as up:
        up.stdout.readline()
        host.mount(f"/proc/{up.pid}/ns/net", path, flags=host.MS_BIND)
        inode = os.stat(path).st_ino
    try:
        bundle.namespace("network", path)
        result = runtime.run(bundle, "readlink /proc/self/ns/net").ok()
    finally:
        host.umount(path)
        os.unlink(path)

    assert result.out == f"net:[{inode}]\n"


@needs.rights
@pytest.mark.skipif("host.is_foreign('pid')", reason="no procfs can be mounted for runc to find")
def test_a_mount_namespace_is_joined_by_path(runtime, bundle):
    # Nothing is to be mounted: it would be in somebody else's namespace. runc wants a /proc.
    bundle.config["mounts"] = []
    bundle.config["linux"]["maskedPaths"] = bundle.config["linux"]["readonlyPaths"] = []
    script = f"mount -t proc proc {bundle.rootfs}/proc && echo; read x"
    words = ["unshare", "--mount", "sh", "-c", script]
    with subprocess.Popen(words, stdin=-1, stdout=-1) as up:
        up.stdout.readline()
        expected = os.readlink(f"/proc/{up.pid}/ns/mnt")
        bundle.namespace("mount", f"/proc/{up.pid}/ns/mnt")
        bundle.file("marker", "here")
        container = runtime.started(bundle, "test -e /marker && exec sleep 1000")
        found = container.namespace("mnt")

    assert found == expected != own("mnt")


def test_a_new_network_namespace_has_a_loopback_that_is_up(runtime, bundle):
    result = runtime.run(bundle, "ip link show lo; ls /sys/class/net").ok()

    assert "UP" in result.out
    assert result.lines[-1] == "lo"


def test_a_new_pid_namespace_makes_init_pid_1(runtime, bundle):
    assert runtime.run(bundle, "echo $$").out == "1\n"


def test_a_new_pid_namespace_hides_the_host(runtime, bundle):
    assert runtime.run(bundle, "ls /proc | grep -c '^[0-9]'").out in {"2\n", "3\n"}


def test_hostname_is_set_in_a_new_uts_namespace(runtime, bundle):
    bundle.config["hostname"] = "a-box"
    before = os.uname().nodename

    assert runtime.run(bundle, "hostname").out == "a-box\n"
    assert os.uname().nodename == before


def test_domainname_is_set_in_a_new_uts_namespace(runtime, bundle):
    bundle.config["ociVersion"] = "1.1.0"
    bundle.config["domainname"] = "example.org"
    result = runtime.run(bundle, "cat /proc/sys/kernel/domainname")
    known_of_runc(runtime, "1.1 does not know domainname", seen=result.out == "(none)\n")

    assert result.out == "example.org\n"


def test_hostname_without_a_uts_namespace_is_refused(runtime, bundle):
    bundle.without_namespace("uts")
    bundle.config["hostname"] = "a-box"
    before = os.uname().nodename

    assert runtime.run(bundle, "true").code != 0
    assert os.uname().nodename == before


def test_a_second_entry_of_a_namespace_is_refused(runtime, bundle):
    bundle.config["linux"]["namespaces"].append({"type": "pid"})

    assert runtime.run(bundle, "true").code != 0


def test_a_namespace_path_of_another_kind_is_refused(runtime, bundle, other):
    bundle.namespace("network", f"/proc/{other.pid}/ns/uts")

    assert runtime.run(bundle, "true").code != 0


def test_a_namespace_path_that_is_missing_is_refused(runtime, bundle):
    bundle.namespace("network", "/nosuch/netns")

    assert runtime.run(bundle, "true").code != 0


TIME = pytest.mark.skipif(host.lacks_namespace("--time") != "", reason="no time namespaces here")


@TIME
def test_a_plain_user_is_told_that_it_cannot_set_clocks(runtime, bundle):
    if os.geteuid() == 0:
        pytest.skip("root can")
    bundle.namespace("time")
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1}}
    result = runtime.run(bundle, "true")

    assert result.code == 1
    assert "linux.timeOffsets: a plain user cannot set them" in result.err


@TIME
@needs.rights
def test_a_time_namespace_shifts_the_clocks(runtime, bundle):
    bundle.config["ociVersion"] = "1.2.0"
    bundle.namespace("time")
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 10_000_000, "nanosecs": 0}}
    result = runtime.run(bundle, "cut -d. -f1 /proc/uptime")
    known_of_runc(runtime, "1.1 refuses time namespaces", seen=result.code != 0)

    assert int(result.ok().out) > 10_000_000


@TIME
@needs.rights
def test_a_time_namespace_is_joined_by_path(runtime, new_bundle):
    first = new_bundle().namespace("time")
    result = runtime.try_create(first.script("exec sleep 1000"))
    known_of_runc(runtime, "1.1 refuses time namespaces", seen=result.code != 0)
    with open(f"{first.path}/pid") as text:
        pid = text.read()
    second = new_bundle().namespace("time", f"/proc/{pid}/ns/time")
    expected = os.readlink(f"/proc/{pid}/ns/time")

    assert runtime.run(second, "readlink /proc/self/ns/time").out.strip() == expected
