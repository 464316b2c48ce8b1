"""podman: what its options ask of the runtime, seen from inside."""

from __future__ import annotations

import os

import pytest

from integration import host, leaks, needs
from integration.engines.podman import IMAGE

MEBI = 1 << 20


def cgroup_of(podman, container):
    """Return the cgroups of a container: controllers -> path."""
    pid = podman.inspect(container, "{{.State.Pid}}")
    lines = host.text_of(f"/proc/{pid}/cgroup").split()
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}


def limit(podman, container, controller, v1, v2):
    places = cgroup_of(podman, container)
    return host.cgroup_file(controller, places.get(controller, places.get("")), v1, v2)


@needs.controllers("memory")
def test_memory_is_limited(podman):
    container = podman.up("--memory", "64m")
    names = ("memory.limit_in_bytes", "memory.max")

    assert limit(podman, container, "memory", *names) == str(64 * MEBI)


@needs.controllers("memory")
def test_a_container_that_takes_too_much_memory_is_killed(podman):
    words = ["--memory", "32m", "--memory-swap", "32m"]
    program = ["tail", "-c", "200000000", "/dev/zero"]

    assert podman.run(*words, IMAGE, *program).code == 137


@needs.controllers("cpu")
def test_cpus_are_limited(podman):
    container = podman.up("--cpus", "0.5")
    if "cpu" in host.hierarchies():
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = (int(limit(podman, container, "cpu", name, "")) for name in names)
    else:
        quota, period = map(int, limit(podman, container, "cpu", "", "cpu.max").split())

    assert quota * 2 == period


@needs.controllers("pids")
def test_pids_are_limited(podman):
    script = "for i in $(seq 30); do sleep 1000 & done; echo all"
    result = podman.run("--pids-limit", "20", IMAGE, "sh", "-c", script)

    assert "all" not in result.out


@needs.controllers("cpuset")
def test_cpus_are_chosen(podman):
    result = podman.run("--cpuset-cpus", "0", IMAGE, "grep", "Cpus_allowed_list", "/proc/1/status")

    assert result.ok().out.split()[1] == "0"


def test_ulimit_is_set(podman):
    # Given one, podman forgets its defaults: nproc must be named on a host that cannot raise it.
    words = ["--ulimit", "nofile=100:200", "--ulimit", "nproc=100:200"]
    result = podman.run(*words, IMAGE, "sh", "-c", "ulimit -n; ulimit -Hn")

    assert result.ok().lines == ["100", "200"]


def test_a_capability_is_dropped(podman):
    assert podman.run("--cap-drop", "CHOWN", IMAGE, "chown", "5", "/tmp").code != 0
    assert podman.run(IMAGE, "chown", "5", "/tmp").code == 0


def test_all_capabilities_are_dropped(podman):
    result = podman.run("--cap-drop", "ALL", IMAGE, "grep", "Cap", "/proc/self/status").ok()

    assert {int(line.split()[1], 16) for line in result.lines} == {0}


def test_a_capability_is_added_for_another_user(podman):
    words = ["--user", "1000", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]
    result = podman.run(*words, IMAGE, "grep", "CapEff", "/proc/self/status").ok()

    assert int(result.out.split()[1], 16) == 1 << 10


def test_the_root_is_read_only(podman):
    result = podman.run("--read-only", IMAGE, "touch", "/etc/x")

    assert result.code != 0
    assert "Read-only file system" in result.err


def test_a_tmpfs_is_mounted(podman):
    words = ["--tmpfs", "/fresh:size=1m,mode=700"]
    result = podman.run(
        *words, IMAGE, "sh", "-c", "stat -c %a /fresh; grep ' /fresh ' /proc/mounts"
    )

    assert result.ok().lines[0] == "700"
    assert "size=1024k" in result.out


def test_a_volume_is_writable(podman, tmp_path):
    podman.run("-v", f"{tmp_path}:/mnt", IMAGE, "sh", "-c", "echo text >/mnt/file").ok()

    assert (tmp_path / "file").read_text() == "text\n"


def test_a_read_only_volume_refuses_writes(podman, tmp_path):
    (tmp_path / "file").write_text("text")
    script = "cat /mnt/file; touch /mnt/x"
    result = podman.run("-v", f"{tmp_path}:/mnt:ro", IMAGE, "sh", "-c", script)

    assert (result.code != 0, result.out) == (True, "text")


def test_a_named_volume_gets_what_is_below_it(podman):
    result = podman.run("-v", f"{host.MARK}:/etc", IMAGE, "ls", "/etc")
    podman("volume", "rm", "--force", host.MARK).ok()

    assert "passwd" in result.ok().lines


def test_a_shared_volume_propagates(podman, tmp_path):
    host.mount("tmpfs", str(tmp_path), "tmpfs")
    host.mount("", str(tmp_path), flags=host.MS_SHARED)
    words = ["--privileged", "-v", f"{tmp_path}:/mnt:rshared"]
    script = "mkdir /mnt/x && mount -t tmpfs t /mnt/x && touch /mnt/x/file"
    result = podman.run(*words, IMAGE, "sh", "-c", script)
    seen = os.listdir(tmp_path / "x")
    host.umount(str(tmp_path))

    assert result.code == 0
    assert seen == ["file"]


@pytest.mark.parametrize(
    ("user", "lines"),
    [("1000", ["1000", "1000"]), ("1000:7", ["1000", "7"]), ("guest", ["1000", "1000"])],
)
def test_the_user_is_set(podman, user, lines):
    assert podman.run("--user", user, IMAGE, "sh", "-c", "id -u; id -g").ok().lines == lines


def test_groups_are_added(podman):
    result = podman.run("--group-add", "70", "--user", "1000", IMAGE, "id", "-G").ok()

    assert "70" in result.out.split()


def test_the_working_directory_and_the_environment_are_set(podman):
    words = ["--workdir", "/tmp", "--env", "A=b", "--hostname", "a-box"]
    result = podman.run(*words, IMAGE, "sh", "-c", "pwd; echo $A; hostname").ok()

    assert result.lines == ["/tmp", "b", "a-box"]


def test_the_umask_is_set(podman):
    assert podman.run("--umask", "0027", IMAGE, "sh", "-c", "umask").ok().out == "0027\n"


def test_a_device_is_given(podman):
    result = podman.run(
        "--device", "/dev/null:/dev/mine:rw", IMAGE, "sh", "-c", "echo x >/dev/mine"
    )

    assert result.code == 0


@needs.device_filter
def test_a_device_that_is_not_given_cannot_be_opened(podman):
    result = podman.run(IMAGE, "sh", "-c", "mknod /tmp/d c 1 11 && : >/tmp/d")

    assert result.code != 0


def test_a_sysctl_is_set(podman):
    words = ["--sysctl", "net.ipv4.ip_forward=1"]

    assert podman.run(*words, IMAGE, "cat", "/proc/sys/net/ipv4/ip_forward").ok().out == "1\n"


def test_shm_has_the_size(podman):
    result = podman.run("--shm-size", "1m", IMAGE, "grep", " /dev/shm ", "/proc/mounts").ok()

    assert "size=1024k" in result.out


def test_no_new_privileges_is_set(podman):
    words = ["--security-opt", "no-new-privileges"]
    result = podman.run(*words, IMAGE, "grep", "NoNewPrivs", "/proc/self/status").ok()

    assert result.out.split()[1] == "1"


def test_the_default_filter_is_in_place(podman):
    result = podman.run(IMAGE, "grep", "Seccomp:", "/proc/self/status").ok()

    assert result.out.split()[1] == "2"


def test_an_unconfined_container_has_no_filter(podman):
    words = ["--security-opt", "seccomp=unconfined"]
    result = podman.run(*words, IMAGE, "grep", "Seccomp:", "/proc/self/status").ok()

    assert result.out.split()[1] == "0"


def test_masked_paths_are_masked(podman):
    assert podman.run(IMAGE, "cat", "/proc/keys").out == ""


def test_privileged_has_all(podman):
    result = podman.run("--privileged", IMAGE, "sh", "-c", "mount -t tmpfs t /mnt; ls /dev")

    assert result.code == 0
    assert len(result.lines) > 15


def test_init_reaps(podman):
    reason = "" if os.path.exists("/usr/libexec/podman/catatonit") else "no catatonit"
    if reason:
        pytest.skip(reason)
    result = podman.run("--init", IMAGE, "cat", "/proc/1/comm").ok()

    assert result.out in {"catatonit\n", "podman-init\n"}


def test_no_network_has_loopback_only(podman):
    assert podman.run(IMAGE, "ls", "/sys/class/net").ok().out == "lo\n"


def test_the_network_of_the_host_is_shared(podman):
    result = podman("run", "--rm", "--network", "host", IMAGE, "readlink", "/proc/self/ns/net")

    assert result.ok().out.strip() == os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize(("flag", "link"), [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts")])
def test_a_namespace_of_the_host_is_shared(podman, flag, link):
    result = podman.run(flag, "host", IMAGE, "readlink", f"/proc/self/ns/{link}")

    assert result.ok().out.strip() == os.readlink(f"/proc/self/ns/{link}")


def test_a_container_with_the_pids_of_the_host_is_stopped(podman):
    # podman sends `kill --all` then.
    container = podman.up("--pid", "host", command=("sh", "-c", "sleep 1000 & exec sleep 1001"))
    podman("stop", "--time", "1", container).ok()

    assert podman.inspect(container, "{{.State.Status}}") == "exited"


@pytest.mark.parametrize(
    ("flag", "link"), [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc")]
)
def test_a_namespace_of_a_container_is_shared(podman, flag, link):
    words = ["--ipc", "shareable"] if flag == "--ipc" else []
    first = podman.up(*words)
    command = ["readlink", f"/proc/self/ns/{link}"]
    network = [] if flag == "--network" else ["--network", "none"]
    result = podman("run", "--rm", *network, flag, f"container:{first}", IMAGE, *command).ok()

    assert result.out == podman("exec", first, *command).out


def test_uidmap_maps(podman):
    words = ["--uidmap", "0:300000:65536", "--gidmap", "0:300000:65536"]
    container = podman.up(*words)
    pid = podman.inspect(container, "{{.State.Pid}}")

    assert os.stat(f"/proc/{pid}").st_uid == 300000
    assert podman("exec", container, "id", "-u").out == "0\n"


def test_a_mapped_container_writes_files(podman):
    words = ["--uidmap", "0:300000:65536", "--gidmap", "0:300000:65536"]
    result = podman.run(*words, IMAGE, "sh", "-c", "echo a >/tmp/a && stat -c %u:%g /tmp/a")

    assert result.ok().out == "0:0\n"


@pytest.mark.usefixtures("subordinate_ids")
def test_userns_auto_maps(podman):
    container = podman.up("--userns", "auto")
    pid = podman.inspect(container, "{{.State.Pid}}")

    assert os.stat(f"/proc/{pid}").st_uid >= 200000
    assert podman("exec", container, "id", "-u").out == "0\n"


def test_a_pod_shares_namespaces(podman, pod_infra):
    pod = podman("pod", "create", *pod_infra, "--network", "none").ok().out.strip()
    links = ("net", "ipc", "uts")
    command = ["sh", "-c", "; ".join(f"readlink /proc/self/ns/{link}" for link in links)]
    first = podman("run", "--rm", "--pod", pod, IMAGE, *command).ok()
    second = podman("run", "--rm", "--pod", pod, IMAGE, *command).ok()

    assert len(first.lines) == len(links)
    assert first.out == second.out


def test_a_pod_is_stopped_and_removed(podman, pod_infra):
    pod = podman("pod", "create", *pod_infra, "--network", "none").ok().out.strip()
    podman("run", "-d", "--pod", pod, IMAGE, "sleep", "1000").ok()
    podman("pod", "stop", "--time", "0", pod).ok()
    podman("pod", "rm", pod).ok()

    assert podman("pod", "ps", "-q").out == ""


@needs.controllers("pids")
def test_the_cgroup_parent_is_taken(podman, expected_processes):
    container = podman.up("--cgroup-parent", f"/{host.MARK}-parent")
    paths = set(cgroup_of(podman, container).values())
    podman("rm", "--force", "--time", "0", container).ok()
    leaks.wait_for_end(expected_processes)  # conmon has a cgroup below the parent
    host.remove_cgroups(f"{host.MARK}-parent")  # podman keeps it

    assert any(path.startswith(f"/{host.MARK}-parent/libpod-") for path in paths)
