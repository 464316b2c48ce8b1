"""User namespaces and id mappings."""

from __future__ import annotations

import os
import subprocess

import pytest

from integration import host, needs
from integration.differences import known_of_runc

pytestmark = pytest.mark.skipif(
    host.lacks_namespace("--user") != "",
    reason="no user namespaces here",
)


OWN = "664 10:11"


@pytest.fixture
def mapped(bundle):
    return bundle.user_namespace(host_id=100000, size=65536)


def test_the_mappings_are_those_of_the_config(runtime, mapped):
    mapped.config["linux"]["uidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 1000},
        {"containerID": 1000, "hostID": 200000, "size": 1},
    ]
    lines = runtime.run(mapped, "cat /proc/self/uid_map; cat /proc/self/gid_map").ok().lines

    assert [line.split() for line in lines] == [
        ["0", "100000", "1000"],
        ["1000", "200000", "1"],
        ["0", "100000", "65536"],
    ]


def test_root_inside_is_the_mapped_user_outside(runtime, mapped):
    container = runtime.started(mapped)

    assert os.stat(f"/proc/{container.pid}").st_uid == 100000
    assert container.sh("id -u") == "0\n"


def test_another_user_inside_is_mapped_too(runtime, mapped):
    mapped.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    container = runtime.started(mapped)

    assert os.stat(f"/proc/{container.pid}").st_uid == 101000
    assert container.sh("id -u; id -G") == "1000\n1000 5\n"


def test_files_made_inside_belong_to_the_mapped_user(runtime, mapped):
    runtime.run(mapped, "touch /tmp/new").ok()

    assert os.stat(f"{mapped.rootfs}/tmp/new").st_uid == 100000


@pytest.mark.skipif(host.lacks_devices() != "", reason="devices cannot be made here")
@pytest.mark.parametrize("path", ["/dev/of-no-host", "/dev/full"])
def test_a_device_that_the_host_has_not_there_is_made(runtime, mapped, path):
    """crun does so too: the numbers say which device it is, not what the host has by that name."""
    mapped.config["linux"]["devices"] = [
        {"path": path, "type": "c", "major": 1, "minor": 5, "fileMode": 0o664, "uid": 10, "gid": 11}
    ]
    result = runtime.run(mapped, f"stat -c '%a %u:%g' {path}; head -c3 {path} | wc -c")
    known_of_runc(
        runtime, "it binds what the host has by that name", seen=result.out.split("\n")[0] != OWN
    )

    assert result.ok().lines == [OWN, "3"]


def test_default_devices_are_there(runtime, mapped):
    result = runtime.run(mapped, "cd /dev; echo x >null && head -c1 zero | wc -c; ls")

    assert result.ok().lines[0] == "1"
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx"} <= set(result.lines)


def test_masked_and_read_only_paths_hold(runtime, mapped):
    result = runtime.run(mapped, "cat /proc/keys; echo 1 >/proc/sys/kernel/hostname")

    assert result.code != 0
    assert result.out == ""


def test_a_hostname_is_set(runtime, mapped):
    mapped.config["hostname"] = "mapped"

    assert runtime.run(mapped, "hostname").out == "mapped\n"


def test_the_other_namespaces_belong_to_the_user_namespace(runtime, mapped):
    names = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]
    mapped.all_capabilities(*names)

    assert runtime.run(mapped, "hostname other && ip link set lo down").code == 0


def test_capabilities_do_not_reach_outside(runtime, mapped):
    mapped.all_capabilities("CAP_SYS_ADMIN", "CAP_SYS_TIME", "CAP_MKNOD")
    mapped.without_namespace("network")
    for index, entry in enumerate(mapped.config["mounts"]):
        if entry["type"] == "sysfs":  # may not be mounted without owning the network
            mapped.config["mounts"][index] = {
                "destination": "/sys",
                "type": "none",
                "source": "/sys",
                "options": ["rbind", "ro"],
            }
    mapped.config["mounts"] = [m for m in mapped.config["mounts"] if m["type"] != "cgroup"]

    assert runtime.run(mapped, "mknod /tmp/dev b 8 0").code != 0


def test_a_tmpfs_belongs_to_root_inside(runtime, mapped):
    mapped.mount("/mnt", "tmpfs", "tmpfs", "mode=755")

    assert runtime.run(mapped, "stat -c %u:%g /mnt").out == "0:0\n"


def test_a_bind_mount_works(runtime, mapped, tmp_path):
    tmp_path.chmod(0o755)
    source = f"{mapped.path}/source"
    os.mkdir(source)
    mapped.mount("/mnt", "bind", source, "rbind", "ro")

    assert runtime.run(mapped, "test -d /mnt && ! touch /mnt/x 2>/dev/null").code == 0


def test_a_terminal_works(runtime, mapped):
    from integration.terminal import ConsoleSocket, read_until

    mapped.config["process"]["terminal"] = True
    console = ConsoleSocket(f"{mapped.path}/console")
    container = runtime.create(mapped.script("tty"), "--console-socket", console.path)
    master = console.take()
    container.start()
    text = read_until(master, b"/dev/pts/0")
    console.close()

    assert b"/dev/pts/0" in text


def test_pipes_can_be_opened_again_inside(runtime, mapped):
    read_fd, write_fd = os.pipe()
    result = runtime.run(mapped, "echo hi >/dev/stdout", stdout=write_fd)
    os.close(write_fd)
    text = os.read(read_fd, 10)
    os.close(read_fd)

    assert (result.code, text) == (0, b"hi\n")


def test_a_user_namespace_is_joined_by_path(runtime, mapped, new_bundle):
    first = runtime.started(mapped)
    second = new_bundle().user_namespace()
    second.namespace("user", f"/proc/{first.pid}/ns/user")
    del second.config["linux"]["uidMappings"], second.config["linux"]["gidMappings"]
    result = runtime.run(second, "readlink /proc/self/ns/user; id -u")
    known_of_runc(runtime, "a path needs mappings, too", seen=result.code != 0)

    assert result.ok().lines == [first.namespace("user"), "0"]


def test_a_user_and_a_network_namespace_are_joined_by_path(runtime, mapped, new_bundle):
    # podman --userns container:X --network container:X
    first = runtime.started(mapped)
    second = new_bundle().user_namespace()
    second.namespace("user", f"/proc/{first.pid}/ns/user")
    second.namespace("network", f"/proc/{first.pid}/ns/net")
    del second.config["linux"]["uidMappings"], second.config["linux"]["gidMappings"]
    result = runtime.run(second, "readlink /proc/self/ns/net")
    known_of_runc(runtime, "a path needs mappings, too", seen=result.code != 0)

    assert result.ok().out.strip() == first.namespace("net")


@pytest.fixture
def denying():
    """Return the path of a user namespace of one id, where setgroups(2) is denied."""
    words = ["unshare", "--user", "--map-root-user", "sh", "-c", "echo ready; exec sleep 1000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"ready\n"
        assert host.text_of(f"/proc/{holder.pid}/setgroups") == "deny\n"
        yield f"/proc/{holder.pid}/ns/user"
        holder.kill()


@pytest.fixture
def joining(bundle, denying):
    # runc wants mappings beside the path; these are not written.
    bundle.user_namespace(host_id=os.geteuid(), size=1)
    bundle.namespace("user", denying)
    for mount in bundle.config["mounts"]:
        # The group of terminals is not mapped.
        mount["options"] = [one for one in mount.get("options", []) if one != "gid=5"]
    return bundle


def test_a_user_namespace_that_denies_setgroups_is_joined(runtime, joining):
    result = runtime.run(joining, "id -u; cat /proc/self/setgroups")

    assert result.ok().lines == ["0", "deny"]


@pytest.mark.skipif("host.in_user_namespace()", reason="root of the machine only leaves its groups")
@needs.rights
def test_no_group_of_the_caller_gets_in_where_setgroups_is_denied(runtime, joining):
    old = os.getgroups()
    os.setgroups([42, 43])
    try:
        container = runtime.started(joining)
        found = container.sh("grep Groups: /proc/1/status /proc/self/status").split()
    finally:
        os.setgroups(old)
    known_of_runc(runtime, "it lets them in", seen="42" in found or "65534" in found)

    assert found == ["/proc/1/status:Groups:", "/proc/self/status:Groups:"]


def test_a_process_is_executed_where_setgroups_is_denied(runtime, joining):
    container = runtime.started(joining)

    assert container.sh("id -u") == "0\n"


def test_groups_that_the_joined_namespace_denies_are_refused(runtime, joining):
    joining.config["process"]["user"]["additionalGids"] = [0]
    result = runtime.run(joining, "true")
    known_of_runc(runtime, "it leaves them out without a word", seen=result.code == 0)

    assert result.code != 0
    assert "additionalGids" in result.err


def test_a_user_that_is_not_mapped_is_refused(runtime, mapped):
    mapped.config["process"]["user"] = {"uid": 70000, "gid": 0}

    assert runtime.run(mapped, "true").code != 0


def test_a_sysctl_of_the_network_is_set(runtime, mapped):
    mapped.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}

    assert runtime.run(mapped, "cat /proc/sys/net/ipv4/ip_forward").out == "1\n"


@needs.ids
def test_the_message_queues_belong_to_its_root(runtime, bundle):
    bundle.user_namespace()

    assert runtime.run(bundle, "stat -c '%u %a' /dev/mqueue").ok().out == "0 1777\n"
