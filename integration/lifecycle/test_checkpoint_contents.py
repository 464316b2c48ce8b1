"""checkpoint and restore: what a restored container is made of.

By a real criu on this machine's kernel, see `integration.criu`. Its own limits are not tested.
"""

from __future__ import annotations

import json
import os
import shutil
import socket

import pytest

from integration import host, needs
from integration.checkpoints import COUNTER, QUIET, connected
from integration.differences import known_of_runc
from integration.runtime import Container
from integration.terminal import ConsoleSocket, read_until


# ---- what it is made of --------------------------------------------------------------------------
def test_tcp_connections_go_along_when_asked_for(checkpoints):
    reason = host.lacks_program("iptables-restore")
    if reason:
        pytest.skip(reason)
    container = connected(checkpoints)
    checkpoints.checkpoint("--tcp-established").ok()
    container.wait()
    result = checkpoints.restore("--tcp-established", **QUIET)
    known_of_runc(checkpoints.runtime, "leaves the interface down", seen=bool(result.code))
    result.ok()
    restored = Container(checkpoints.runtime, checkpoints.bundle)
    restored.sh("echo hello >/tmp/say")

    checkpoints.wait_for(lambda: "hello\n" == restored.sh("cat /tmp/heard"))


def test_bind_mounts_are_there_as_they_were(checkpoints):
    bundle = checkpoints.bundle
    os.makedirs(f"{bundle.path}/data/deep")
    with open(f"{bundle.path}/data/text", "w") as text:
        text.write("kept")
    os.makedirs(f"{bundle.rootfs}/real")
    os.symlink("/real", f"{bundle.rootfs}/link")
    bundle.mount("/mnt", "bind", f"{bundle.path}/data", "rbind", "ro", "nosuid")
    bundle.mount("/link", "bind", f"{bundle.path}/data", "bind")
    host.mount("tmpfs", f"{bundle.path}/data/deep", "tmpfs")
    try:
        container = checkpoints.started()
        lines = mounts(container)
        result = checkpoints.checkpoint()
        known_of_runc(checkpoints.runtime, "cannot dump what is mounted below a recursive bind",
                      seen=bool(result.code))  # fmt: skip
        result.ok()
        container.wait()
        restored = checkpoints.restored()

        assert "kept" == restored.sh("cat /mnt/text")
        found = mounts(restored)
        known_of_runc(checkpoints.runtime, "mounts are not what they were", seen=lines != found)
        assert lines == found
    finally:
        host.umount(f"{bundle.path}/data/deep")


def mounts(container):
    """Return root, mount point, options and type of the container's mounts."""
    found = []
    for line in host.text_of(f"/proc/{container.pid}/mountinfo").splitlines():
        left, right = line.split(" - ", 1)
        fields = left.split()
        shown = "private" if len(fields) == 6 else fields[6].split(":")[0]
        found.append((fields[3], fields[4], fields[5], shown, right.split()[0]))
    return sorted(found)


def test_the_mounts_of_a_restored_container_are_those_of_a_created_one(checkpoints):
    checkpoints.bundle.config["linux"]["maskedPaths"] = [
        "/proc/kcore",
        "/proc/scsi",
        "/sys/firmware",
    ]
    checkpoints.bundle.config["linux"]["readonlyPaths"] = ["/proc/sys", "/proc/bus"]
    container = checkpoints.started()
    before = mounts(container)
    checkpoints.checkpoint().ok()
    container.wait()
    restored = checkpoints.restored()

    found = mounts(restored)
    known_of_runc(checkpoints.runtime, "mounts are not what they were", seen=before != found)

    assert before == found
    assert "" == restored.sh("cat /proc/kcore; ls /sys/firmware")


def test_mount_points_that_are_gone_are_made_again(checkpoints):
    bundle = checkpoints.bundle
    os.makedirs(f"{bundle.path}/data")
    bundle.mount("/new/point", "bind", f"{bundle.path}/data", "bind")
    bundle.mount("/new/point/below", "bind", f"{bundle.path}/data", "bind")
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    os.rmdir(f"{bundle.path}/data/below")
    os.removedirs(f"{bundle.rootfs}/new/point")
    restored = checkpoints.restored()

    assert "below\n" == restored.sh("ls /new/point")


def test_the_source_of_a_mount_is_that_of_the_restored_bundle(checkpoints):
    bundle = checkpoints.bundle
    for name in ("old", "new"):
        os.makedirs(f"{bundle.path}/{name}")
        with open(f"{bundle.path}/{name}/text", "w") as text:
            text.write(name)
    bundle.mount("/mnt", "bind", f"{bundle.path}/old", "bind")
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    bundle.config["mounts"][-1]["source"] = f"{bundle.path}/new"
    bundle.save()

    assert "new" == checkpoints.restored().sh("cat /mnt/text")


def test_memory_that_is_a_file_goes_along(checkpoints):
    container = checkpoints.started()
    container.sh("echo kept >/dev/shm/text")
    checkpoints.checkpoint().ok()
    container.wait()

    assert "kept\n" == checkpoints.restored().sh("cat /dev/shm/text")


def test_rights_are_what_they_were(checkpoints):
    checkpoints.bundle.config["process"]["noNewPrivileges"] = True
    checkpoints.bundle.config["process"]["oomScoreAdj"] = 300
    checkpoints.bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}],
    }
    container = checkpoints.started()
    before = rights(container)
    checkpoints.checkpoint().ok()
    container.wait()

    assert before == rights(checkpoints.restored())


def rights(container):
    words = ("Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "Umask")
    lines = host.text_of(f"/proc/{container.pid}/status").splitlines()
    files = [host.text_of(f"/proc/{container.pid}/{name}") for name in ("limits", "oom_score_adj")]
    return [line for line in lines if line.startswith(words)] + files


def test_the_session_keyring_is_not_the_callers(checkpoints, probe):
    shutil.copy(probe("keyring"), f"{checkpoints.bundle.rootfs}/bin/keyring")
    ask = "[ ! -e /tmp/ask ] || { keyring >/tmp/keys.new; mv /tmp/keys.new /tmp/keys; }; pause"
    container = checkpoints.started(COUNTER.replace("    pause", f"    {ask}"))
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.restored()
    checkpoints.bundle.file("tmp/ask", "")
    keys = f"{checkpoints.bundle.rootfs}/tmp/keys"
    checkpoints.wait_for(lambda: os.path.exists(keys))
    name = host.text_of(keys).strip().split(";")[-1]
    known_of_runc(checkpoints.runtime, "hands over the caller's session keyring",
                  seen=not name.endswith(container.id))  # fmt: skip

    assert name == f"_ses.{container.id}"


# ---- cgroups and namespaces ----------------------------------------------------------------------
@needs.controllers("pids")
def test_limits_are_those_of_the_restored_bundle(checkpoints):
    checkpoints.bundle.resources(pids={"limit": 50})
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.bundle.resources(pids={"limit": 60})
    checkpoints.bundle.save()
    restored = checkpoints.restored()

    cgroup = checkpoints.bundle.cgroup
    assert "60" == host.cgroup_file("pids", cgroup, "pids.max", "pids.max")
    procs = host.cgroup_file("pids", cgroup, "cgroup.procs", "cgroup.procs").split()
    assert str(restored.pid) in procs


def test_another_cgroup_can_be_named(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.bundle.config["linux"]["cgroupsPath"] = f"{checkpoints.bundle.cgroup}-other"
    checkpoints.bundle.save()
    restored = checkpoints.restored()

    paths = {line.split(":", 2)[2] for line in host.text_of(f"/proc/{restored.pid}/cgroup").split()}
    # Not all of them are the session's, see AISBX_TEST_CGROUP2.
    ours = {path for path in paths if host.MARK in path}
    assert {True} == {path.endswith("-other") for path in ours}
    assert checkpoints.counts_on()


def test_a_cgroup_namespace_stays_the_containers_own(checkpoints):
    checkpoints.bundle.namespace("cgroup")
    restored = checkpoints.there_and_back()

    assert os.readlink("/proc/self/ns/cgroup") != restored.namespace("cgroup")
    lines = restored.sh("cat /proc/1/cgroup").splitlines()
    assert {"/"} == {line.split(":", 2)[2] for line in lines}


def test_cgroups_that_the_container_has_made_are_made_again(checkpoints):
    mount_point = next(path for word, path in host.hierarchies().items() if word in {"pids", ""})
    container = checkpoints.started()
    below = f"{mount_point}{checkpoints.bundle.cgroup}/below"
    os.mkdir(below)
    with open(f"{below}/cgroup.procs", "w") as procs:
        procs.write(str(container.pid))
    checkpoints.checkpoint().ok()
    container.wait()
    restored = checkpoints.restored()

    seen = f"{checkpoints.bundle.cgroup}/below\n" in host.text_of(f"/proc/{restored.pid}/cgroup")
    known_of_runc(checkpoints.runtime, "puts all into the one cgroup", seen=not seen)

    assert seen


def test_the_loopback_of_a_new_network_namespace_is_up(checkpoints):
    checkpoints.bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    restored = checkpoints.there_and_back()
    seen = restored.sh("ip link show lo; cat /proc/sys/net/ipv4/ip_forward")
    known_of_runc(checkpoints.runtime, "leaves the interface down", seen=",UP" not in seen)

    assert ",UP" in seen
    assert seen.endswith("1\n")


def test_a_network_namespace_by_path_is_joined_again(checkpoints, runtime, new_bundle):
    other = runtime.started(new_bundle(), **QUIET)
    checkpoints.bundle.namespace("network", f"/proc/{other.pid}/ns/net")
    restored = checkpoints.there_and_back()

    assert other.namespace("net") == restored.namespace("net")


def test_ipc_and_uts_namespaces_by_path_are_joined_again(checkpoints, runtime, new_bundle):
    other = runtime.started(new_bundle(), **QUIET)
    del checkpoints.bundle.config["hostname"]
    for kind in ("ipc", "uts"):
        checkpoints.bundle.namespace(kind, f"/proc/{other.pid}/ns/{kind}")
    restored = checkpoints.there_and_back()

    assert [other.namespace(kind) for kind in ("ipc", "uts")] == [
        restored.namespace(kind) for kind in ("ipc", "uts")
    ]


def test_exec_sees_the_clock_of_the_restored_container(checkpoints):
    restored = checkpoints.there_and_back()

    # criu restores into a time namespace, whose clock has not gone on meanwhile.
    seen = restored.sh("readlink /proc/self/ns/time").strip()
    known_of_runc(checkpoints.runtime, "exec has another clock",
                  seen=seen != restored.namespace("time"))  # fmt: skip

    assert restored.namespace("time") == seen


# ---- descriptors ---------------------------------------------------------------------------------
def test_a_pipe_is_the_one_of_restore(checkpoints):
    script = "read first; echo had $first; read second; echo has $second"
    read_fd, write_fd = os.pipe()
    out_read, out_write = os.pipe()
    container = checkpoints.started(script, stdin=read_fd, stdout=out_write)
    os.close(out_write)
    os.write(write_fd, b"one\n")

    assert b"had one\n" == os.read(out_read, 100)
    checkpoints.checkpoint().ok()
    container.wait()
    for fd in (read_fd, write_fd, out_read):
        os.close(fd)
    read_fd, write_fd = os.pipe()
    out_read, out_write = os.pipe()
    restored = checkpoints.restored(stdin=read_fd, stdout=out_write)
    os.close(out_write)
    os.write(write_fd, b"two\n")

    assert b"has two\n" == os.read(out_read, 100)
    assert 0 == restored.wait()
    for fd in (read_fd, write_fd, out_read):
        os.close(fd)


def test_a_file_of_the_host_is_the_one_of_restore(checkpoints):
    path = f"{checkpoints.bundle.path}/out"
    with open(path, "a") as out:
        container = checkpoints.started(
            COUNTER.replace("    pause", "    echo $i; pause"), stdout=out
        )
    result = checkpoints.checkpoint()
    known_of_runc(checkpoints.runtime, "cannot dump a file of the host", seen=bool(result.code))
    result.ok()
    container.wait()
    reached = len(host.text_of(path).splitlines())
    # criu wants it as long as it was.
    with open(path, "a") as out:
        checkpoints.restored(stdout=out)
    checkpoints.wait_for(lambda: len(host.text_of(path).splitlines()) > reached + 1)

    numbers = [int(line) for line in host.text_of(path).splitlines()]
    assert list(range(1, len(numbers) + 1)) == numbers


def test_a_terminal_is_sent_to_the_console_socket_of_restore(checkpoints):
    checkpoints.bundle.config["process"]["terminal"] = True
    console = ConsoleSocket(f"{checkpoints.bundle.path}/console")
    script = "read word; echo had $word; read word; echo has $word"
    checkpoints.bundle.script(script)
    container = checkpoints.runtime.create(checkpoints.bundle, "--console-socket", console.path)
    container.start()
    master = console.take()
    os.write(master, b"one\n")
    read_until(master, b"had one")
    checkpoints.checkpoint().ok()
    container.wait()
    console.close()
    os.unlink(console.path)
    console = ConsoleSocket(console.path)
    restored = checkpoints.restored("--console-socket", console.path)
    master = console.take()
    os.write(master, b"two\n")
    read_until(master, b"has two")

    assert 0 == restored.wait()
    console.close()


def test_a_connection_to_the_outside_goes_along_when_asked_for(checkpoints):
    bundle = checkpoints.bundle
    os.mkdir(f"{bundle.path}/sockets")
    bundle.mount("/mnt", "bind", f"{bundle.path}/sockets", "bind")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{bundle.path}/sockets/log")
        container = checkpoints.started("syslogd -n -O /tmp/log & " + COUNTER)
        result = checkpoints.checkpoint("--ext-unix-sk", "--file-locks")

    result.ok()
    container.wait()
    checkpoints.restored("--ext-unix-sk", "--file-locks")
    assert checkpoints.counts_on()


# ---- hooks ---------------------------------------------------------------------------------------
def test_hooks_make_the_network_of_a_restored_container_again(checkpoints):
    journal = f"{checkpoints.bundle.path}/journal"
    for kind in ("prestart", "createRuntime", "poststop"):
        checkpoints.bundle.hook(kind, "/bin/sh", "-c", f"echo {kind} $(cat) >>{journal}")
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    with open(journal, "w"):
        pass
    restored = checkpoints.restored()

    lines = host.text_of(journal).splitlines()
    assert ["prestart", "createRuntime"] == [line.split()[0] for line in lines]
    assert {restored.pid} == {json.loads(line.split(None, 1)[1])["pid"] for line in lines}


def test_a_failing_hook_leaves_nothing(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.bundle.hook("createRuntime", "/bin/false")
    checkpoints.bundle.save()
    result = checkpoints.restore()
    known_of_runc(checkpoints.runtime, "names no hook", seen="/bin/false" not in result.message)

    assert 1 == result.code
    assert "/bin/false" in result.message
    assert "does not exist" in container.verb("state").message
