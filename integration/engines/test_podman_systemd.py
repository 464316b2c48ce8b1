"""podman with its default cgroup manager: scopes of the system's systemd, and of a user's."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from integration import host
from integration.engines import rootless
from integration.engines.podman import IMAGE, Podman
from integration.leaks import descendants
from integration.runtime import PATH, call
from integration.systemd import units

UID = 1000
MANAGER = f"/user.slice/user-{UID}.slice/user@{UID}.service"
MEBI = 1 << 20


class SystemdPodman(Podman):
    """podman that is told of the manager, which the settings of these tests say otherwise."""

    def argv(self, *words, runtime=None):
        return super().argv("--cgroup-manager=systemd", *words, runtime=runtime)


@pytest.fixture(scope="module")
def of_root(systemd, podman_session):
    return SystemdPodman(podman_session.program, podman_session.environment, [])


@pytest.fixture(scope="module")
def of_user(systemd, program, scratch, containers_etc, image_tar):
    reason = host.lacks_guest() or host.lacks_program("setpriv", "newuidmap")
    if reason:
        yield reason
        return
    home, run = f"{scratch}/home-of-{UID}", f"/run/user/{UID}"
    deadline = time.monotonic() + units.WAIT_S
    while not os.path.exists(f"{run}/bus"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.makedirs(f"{home}/.config/containers")
    with open(f"{home}/.config/containers/storage.conf", "w") as out:
        out.write(rootless.STORAGE.format(top=home, run=run))
    call(["chown", "-R", f"{UID}:{UID}", home]).ok()
    os.chmod(image_tar, 0o644)
    environment = {
        "PATH": PATH, "HOME": home, "XDG_RUNTIME_DIR": run, "TMPDIR": home, "LANG": "C",
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={run}/bus",
    }  # fmt: skip
    words = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
    made = SystemdPodman(program, environment, words)
    made("import", image_tar, IMAGE).ok()
    yield made
    made("system", "migrate")
    shutil.rmtree(f"{run}/containers", ignore_errors=True)
    shutil.rmtree(f"{run}/libpod", ignore_errors=True)


@pytest.fixture(params=["root", "user"])
def podman(request, of_root, of_user, _no_leaks):
    made = {"root": of_root, "user": of_user}[request.param]
    if isinstance(made, str):
        pytest.skip(made)
    made.top = MANAGER if request.param == "user" else ""
    made.slice = "user.slice" if request.param == "user" else "machine.slice"
    made.flag = ["--user"] if request.param == "user" else []
    yield made
    made("pod", "rm", "--force", "--all", "--time", "0").ok()
    made("rm", "--force", "--all", "--time", "0").ok()
    for pid, name in descendants().items():
        if "podman pause" in name or "catatonit" in name:
            _no_leaks.processes.add(pid)


def cgroup_of(podman, container) -> str:
    return units.cgroup_of(podman.inspect(container, "{{.State.Pid}}"))


def shown(podman, unit, name) -> str:
    words = [*podman.prefix, "systemctl", *podman.flag, "show", "--value", "-p", name, unit]
    return call(words, env=podman.environment).ok().out.strip()


def test_a_container_is_in_a_scope_with_its_limits(podman):
    container = podman.up("--memory=64m", "--pids-limit=50", "--cpus=0.5")
    unit = f"libpod-{container}.scope"
    cgroup = cgroup_of(podman, container)

    assert f"{podman.top}/{podman.slice}/{unit}" == cgroup
    assert str(64 * MEBI) == units.value(cgroup, "memory.max")
    assert "50" == units.value(cgroup, "pids.max")
    assert "50000 100000" == units.value(cgroup, "cpu.max")
    assert ("50", str(64 * MEBI)) == (
        shown(podman, unit, "TasksMax"), shown(podman, unit, "MemoryMax"),
    )  # fmt: skip
    # podman's own annotations: how systemd is to stop it when the machine goes down.
    assert ("15", "10s") == (
        shown(podman, unit, "KillSignal"), shown(podman, unit, "TimeoutStopUSec"),
    )  # fmt: skip


def test_run_prints_and_leaves_no_unit(podman):
    out = podman.run(IMAGE, "cat", "/proc/self/cgroup").ok().out
    left = call(
        [*podman.prefix, "systemctl", *podman.flag, "list-units", "--all", "--plain",
         "--no-legend", "libpod-*.scope"],
        env=podman.environment,
    ).ok().out  # fmt: skip

    assert "0::/\n" == out
    assert not [line for line in left.splitlines() if "conmon" not in line]


def test_exec_joins_the_scope(podman):
    container = podman.up()
    podman("exec", "-d", container, "sleep", "1234").ok()
    procs = units.value(cgroup_of(podman, container), "cgroup.procs").split()
    names = [host.text_of(f"/proc/{pid}/cmdline") for pid in procs]

    assert ["sleep\x001000\0", "sleep\x001234\0"] == sorted(names)


def test_update_stats_and_top(podman):
    container = podman.up("--memory=64m", "--pids-limit=50")
    podman("update", "--memory=32m", container).ok()
    stats = podman("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", container).ok()

    assert str(32 * MEBI) == units.value(cgroup_of(podman, container), "memory.max")
    assert "33.55MB 1" in stats.out
    assert "sleep" in podman("top", container).ok().out


def test_pause_and_restart(podman):
    container = podman.up()
    podman("pause", container).ok()
    paused = podman.inspect(container, "{{.State.Status}}")
    podman("unpause", container).ok()
    podman("restart", "--time", "0", container).ok()

    assert "paused" == paused
    assert f"libpod-{container}.scope" in cgroup_of(podman, container)


def test_a_pod_has_a_slice(podman):
    podman("pod", "create", "--name", "p", "--infra=false").ok()
    container = podman.up("--pod", "p")
    pod = podman.inspect(container, "{{.Pod}}")
    cgroup = cgroup_of(podman, container)

    assert cgroup.endswith(f"libpod_pod_{pod}.slice/libpod-{container}.scope")


def test_a_container_whose_program_is_not_there_leaves_no_scope(podman):
    assert 127 == podman.run(IMAGE, "nosuch").code
    left = call(
        [*podman.prefix, "systemctl", *podman.flag, "list-units", "--all", "--plain",
         "--no-legend", "libpod-*.scope"],
        env=podman.environment,
    ).ok().out  # fmt: skip
    assert not [line for line in left.splitlines() if "conmon" not in line]


def test_a_container_of_systemd_may_make_cgroups_of_its_own(podman):
    script = "mkdir /sys/fs/cgroup/below && cat /sys/fs/cgroup/below/cgroup.procs && echo made"

    assert "made\n" == podman.run("--systemd=always", IMAGE, "sh", "-c", script).ok().out
