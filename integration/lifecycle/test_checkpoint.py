"""checkpoint and restore: a container goes on where it was, as it was, or nothing has happened.

By a real criu on this machine's kernel, see `integration.criu`. Its own limits are not tested.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from integration import criu, host, needs
from integration.differences import known_of_runc
from integration.runtime import PATH, TIMEOUT_S, Container
from integration.terminal import ConsoleSocket, read_until

# A number in a variable of init: it goes up, and whoever starts anew begins with 1.
COUNTER = """
i=0
while :; do
    i=$((i + 1))
    echo $i >/tmp/number.new
    mv /tmp/number.new /tmp/number
    sleep 0.02
done
"""
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Checkpoints:
    """A bundle with a counter, and the directories of its image."""

    def __init__(self, runtime, bundle, bin_directory):
        self.runtime, self.bundle = runtime, bundle
        self.path = f"{bin_directory}:{PATH}"
        self.image, self.work = f"{bundle.path}/image", f"{bundle.path}/work"

    def started(self, script=COUNTER, **options):
        container = self.runtime.started(self.bundle, script, **{**QUIET, **options})
        if "/tmp/number" in script:
            self.wait_for(lambda: self.number() > 1)
        return container

    def number(self):
        try:
            with open(f"{self.bundle.rootfs}/tmp/number") as text:
                return int(text.read())
        except FileNotFoundError:
            return 0

    def wait_for(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, "it does not come"
            time.sleep(0.01)  # files of the container: there is no event across its mounts

    def counts_on(self):
        """Tell that the counter goes up, which it does only while it runs."""
        before = self.number()
        self.wait_for(lambda: self.number() > before)
        return True

    def checkpoint(self, *flags, **options):
        words = ("checkpoint", "--image-path", self.image, "--work-path", self.work)
        env = options.pop("env", {"PATH": self.path})
        return self.runtime(*words, *flags, self.bundle.id, env=env, **options)

    def restore(self, *flags, container_id=None, **options):
        log = ("--log", f"{self.bundle.path}/log")
        words = (*log, "restore", "--detach", "--bundle", self.bundle.path)
        places = ("--image-path", self.image, "--work-path", self.work)
        pid_file = ("--pid-file", f"{self.bundle.path}/pid")
        name = container_id or self.bundle.id
        self.runtime.made.append(name)
        options.setdefault("env", {"PATH": self.path})
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.bundle.path}/pid")
        return self.runtime(*words, *places, *pid_file, *flags, name, **options)

    def restored(self, *flags, **options):
        result = self.restore(*flags, **{**QUIET, **options})
        assert result.code == 0, host.text_of(f"{self.bundle.path}/log")
        return Container(self.runtime, self.bundle)

    def there_and_back(self, *flags, script=COUNTER):
        """Start, checkpoint and restore a container."""
        container = self.started(script)
        self.checkpoint(*flags).ok()
        container.wait()
        return self.restored(*flags)


@pytest.fixture(scope="session")
def bin_directory():
    reason = host.lacks_program("mmdebstrap")
    if reason:
        pytest.skip(reason)
    return criu.build()


@pytest.fixture
def checkpoints(runtime, bundle, bin_directory, expected_processes):
    before = set(glob.glob("/tmp/.criu*"))
    yield Checkpoints(runtime, bundle, bin_directory)
    # A counter writes while its bundle is removed.
    runtime.clean(expected_processes)

    assert before == set(glob.glob("/tmp/.criu*"))


# ---- there and back ------------------------------------------------------------------------------
def test_a_counter_goes_on_where_it_was(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    reached = checkpoints.number()
    restored = checkpoints.restored()

    assert checkpoints.counts_on()
    assert reached < checkpoints.number() < reached + 1000
    assert ("running", restored.pid) == (restored.status, restored.state()["pid"])


def test_a_checkpointed_container_is_deleted(checkpoints):
    container = checkpoints.started()
    result = checkpoints.checkpoint().ok()

    assert ("", "") == (result.out, result.err)
    assert "does not exist" in container.verb("state").message
    assert [] == [path for path in host.hierarchies().values()
                  if os.path.isdir(f"{path}{checkpoints.bundle.cgroup}")]  # fmt: skip


def test_an_image_can_be_restored_more_than_once(checkpoints):
    checkpoints.there_and_back().delete("--force").ok()
    restored = checkpoints.restored()

    assert "running" == restored.status
    assert checkpoints.counts_on()


def test_a_restored_container_can_be_checkpointed_again(checkpoints):
    restored = checkpoints.there_and_back()
    checkpoints.checkpoint().ok()
    restored.wait()
    checkpoints.restored()

    assert checkpoints.counts_on()


def test_a_restored_container_takes_every_verb(checkpoints):
    restored = checkpoints.there_and_back()
    pids = json.loads(checkpoints.runtime("ps", "--format", "json", restored.id).ok().out)

    assert restored.pid in pids
    assert "inside\n" == restored.sh("echo inside")
    restored.verb("pause").ok()
    assert "paused" == restored.status
    restored.verb("resume").ok()
    assert restored.id in checkpoints.runtime("list", "-q").ok().lines
    restored.kill("KILL").ok()
    assert 128 + 9 == restored.wait()
    assert "stopped" == restored.status
    restored.delete().ok()


def test_init_of_a_restored_container_is_the_child_of_who_called(checkpoints):
    restored = checkpoints.there_and_back()
    restored.kill("KILL").ok()

    # Container.wait reaps: that works for a child only, and this process is a subreaper.
    assert 128 + 9 == restored.wait()


def test_restore_in_front_ends_with_the_exit_code_and_deletes(checkpoints):
    container = checkpoints.started("until [ -e /tmp/go ]; do sleep 0.02; done; exit 7")
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.bundle.file("tmp/go", "")
    words = ("restore", "--bundle", checkpoints.bundle.path, "--image-path", checkpoints.image)
    result = checkpoints.runtime(*words, container.id, env={"PATH": checkpoints.path}, **QUIET)

    assert 7 == result.code
    assert "does not exist" in container.verb("state").message


def test_restore_under_another_id_is_possible(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    name = f"{container.id}-other"
    checkpoints.restore(container_id=name, **QUIET).ok()

    assert "running" == json.loads(checkpoints.runtime("state", name).ok().out)["status"]
    checkpoints.runtime("delete", "--force", name).ok()


def test_restore_under_an_id_in_use_is_refused(checkpoints):
    checkpoints.there_and_back()
    result = checkpoints.restore()

    assert 1 == result.code
    assert checkpoints.counts_on()


# ---- leaving it running --------------------------------------------------------------------------
def test_with_leave_running_it_goes_on(checkpoints):
    container = checkpoints.started()
    # podman says it twice.
    checkpoints.checkpoint("--leave-running", "--leave-running").ok()

    assert "running" == container.status
    assert checkpoints.counts_on()
    container.kill("KILL").ok()
    container.wait()
    container.delete().ok()
    checkpoints.restored()
    assert checkpoints.counts_on()


def test_a_paused_container_can_be_checkpointed(checkpoints):
    container = checkpoints.started()
    container.verb("pause").ok()
    checkpoints.checkpoint().ok()
    container.wait()
    checkpoints.restored()

    assert checkpoints.counts_on()


def test_a_pre_dump_is_the_parent_of_the_image(checkpoints, bin_directory):
    reason = criu.lacks(bin_directory, "mem_dirty_track")
    if reason:
        pytest.skip(reason)
    container = checkpoints.started()
    parent = f"{checkpoints.bundle.path}/parent"
    words = ("checkpoint", "--pre-dump", "--image-path", parent, container.id)
    checkpoints.runtime(*words, env={"PATH": checkpoints.path}).ok()

    assert checkpoints.counts_on()
    checkpoints.checkpoint("--parent-path", "../parent").ok()
    container.wait()
    assert os.path.samefile(parent, f"{checkpoints.image}/parent")
    checkpoints.restored()
    assert checkpoints.counts_on()


def test_a_pre_dump_that_the_kernel_cannot_do_is_refused(checkpoints, bin_directory):
    if not criu.lacks(bin_directory, "mem_dirty_track"):
        pytest.skip("this kernel tracks changes of memory")
    container = checkpoints.started()
    result = checkpoints.checkpoint("--pre-dump")

    assert 1 == result.code
    assert "running" == container.status
    assert checkpoints.counts_on()


@pytest.mark.parametrize("parent", ["/tmp", "../missing"])
def test_a_parent_must_be_a_directory_beside_the_image(checkpoints, parent):
    checkpoints.started()
    result = checkpoints.checkpoint("--parent-path", parent)

    assert 1 == result.code
    assert "--parent-path" in result.message
    assert checkpoints.counts_on()


# ---- refused -------------------------------------------------------------------------------------
def test_only_what_runs_can_be_checkpointed(checkpoints):
    container = checkpoints.runtime.create(checkpoints.bundle)

    assert 1 == checkpoints.checkpoint().code
    assert "created" == container.status


def test_a_failing_checkpoint_leaves_it_running(checkpoints):
    # criu takes open connections along only when it is told to.
    container = connected(checkpoints)
    result = checkpoints.checkpoint()

    assert 1 == result.code
    assert "running" == container.status
    assert checkpoints.counts_on()
    if checkpoints.runtime.name != "runc":
        assert "--tcp-established" in result.message or "Connected TCP socket" in result.message
        assert f"{checkpoints.work}/dump.log" in result.message


def test_a_criu_that_dies_leaves_it_running(checkpoints, bin_directory):
    container = checkpoints.started()
    cgroup = f"{host.hierarchies().get('', '/missing')}{checkpoints.bundle.cgroup}"
    if not os.path.exists(f"{cgroup}/cgroup.freeze"):
        pytest.skip("no cgroup v2 on this host")
    directory = f"{checkpoints.bundle.path}/bin"
    os.mkdir(directory)
    # As if killed when all is frozen. Later it has code of its own in the processes.
    with open(f"{directory}/criu", "w") as text:
        text.write(
            f'#!/bin/sh\n[ "$1" = swrk ] || exec {bin_directory}/criu "$@"\n'
            f"echo 1 >{cgroup}/cgroup.freeze\n"
            f"until grep -q 'frozen 1' {cgroup}/cgroup.events; do :; done\nkill -KILL $$\n"
        )
    os.chmod(f"{directory}/criu", 0o755)
    result = checkpoints.checkpoint(env={"PATH": f"{directory}:{PATH}"})
    frozen = "frozen 1" in host.text_of(f"{cgroup}/cgroup.events")
    known_of_runc(checkpoints.runtime, "stays frozen", seen=frozen)

    assert 1 == result.code
    assert "running" == container.status
    assert checkpoints.counts_on()


def test_a_failing_restore_leaves_nothing(checkpoints):
    container = checkpoints.started()
    checkpoints.checkpoint().ok()
    container.wait()
    os.unlink(f"{checkpoints.image}/pstree.img")
    result = checkpoints.restore()

    assert 1 == result.code
    assert "does not exist" in container.verb("state").message
    assert not os.path.exists(f"{checkpoints.bundle.path}/pid")
    if checkpoints.runtime.name != "runc":
        assert f"{checkpoints.work}/restore.log" in result.message


def test_an_image_that_is_not_there_is_an_error(checkpoints):
    checkpoints.bundle.save()
    result = checkpoints.restore()

    assert 1 == result.code


def test_a_user_namespace_is_refused_while_it_runs(checkpoints):
    checkpoints.bundle.user_namespace()
    os.chmod(f"{checkpoints.bundle.rootfs}/tmp", 0o777)
    container = checkpoints.started()
    result = checkpoints.checkpoint()
    known_of_runc(checkpoints.runtime, "saves what cannot be restored", seen=not result.code)

    assert 1 == result.code
    assert "user namespace" in result.message
    assert "running" == container.status
    assert checkpoints.counts_on()


def test_a_shared_mount_is_refused_while_it_runs(checkpoints):
    checkpoints.bundle.mount("/mnt", "bind", checkpoints.bundle.path, "bind", "rshared")
    container = checkpoints.started()
    result = checkpoints.checkpoint()
    known_of_runc(checkpoints.runtime, "shares nothing once restored", seen=not result.code)

    assert 1 == result.code
    assert "mounts[" in result.message
    assert "running" == container.status


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_help_says_whether_criu_can_be_used(runtime, bundle, bin_directory, verb):
    os.mkdir(f"{bundle.path}/bin")
    with open(f"{bundle.path}/bin/criu", "w") as text:
        text.write("#!/bin/sh\necho Version: 3.17.1\n")
    os.chmod(f"{bundle.path}/bin/criu", 0o755)
    works = runtime(verb, "--help", env={"PATH": f"{bin_directory}:{PATH}"})
    old = runtime(verb, "--help", env={"PATH": f"{bundle.path}/bin:{PATH}"})
    known_of_runc(runtime, "helps whether there is a criu or not", seen=not old.code)

    assert (0, "") == (works.code, works.err)
    assert "--image-path" in works.out
    assert 1 == old.code
    assert "3.17.1" in old.message


def test_features_and_doctor_say_the_same_as_help(runtime, bin_directory):
    if runtime.name == "runc":
        pytest.skip("documented difference of runc: it has no doctor")
    for path, works in ((f"{bin_directory}:{PATH}", True), (PATH, os.access("/usr/sbin/criu", 1))):
        document = json.loads(runtime("features", env={"PATH": path}).ok().out)
        checks = json.loads(runtime("doctor", "--json", env={"PATH": path}).out)["checks"]
        state = next(one["state"] for one in checks if one["name"] == "criu")
        told = document["annotations"]["org.opencontainers.runc.checkpoint.enabled"]
        code = runtime("checkpoint", "--help", env={"PATH": path}).code

        assert (works, works, works) == (told == "true", state == "ok", code == 0)


# ---- what it is made of --------------------------------------------------------------------------
def connected(checkpoints):
    """Start a counter that has a TCP connection to itself, through its loopback interface."""
    script = f"""
mkfifo /tmp/say /tmp/hold
nc -l -p 98 <>/tmp/hold >/tmp/heard &
until grep -q :0062 /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done
nc 127.0.0.1 98 <>/tmp/say &
{COUNTER}"""
    container = checkpoints.started(script)
    checkpoints.wait_for(lambda: ":0062 " in container.sh("grep ' 01 ' /proc/net/tcp; true"))
    return container


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
    ask = "[ ! -e /tmp/ask ] || { keyring >/tmp/keys.new; mv /tmp/keys.new /tmp/keys; }; sleep"
    container = checkpoints.started(COUNTER.replace("sleep", ask))
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
        container = checkpoints.started(COUNTER.replace("sleep", "echo $i; sleep"), stdout=out)
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
