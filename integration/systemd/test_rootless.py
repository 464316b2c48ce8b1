"""Scopes of a user's own systemd: a plain user of this machine, lingering, with subordinate ids."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from integration import host
from integration.runtime import PATH, Runtime, call
from integration.systemd import units
from integration.systemd.units import cgroup_of

PERSON, UID = "lab", 1000
MANAGER = f"/user.slice/user-{UID}.slice/user@{UID}.service"
ENVIRONMENT = {"PATH": PATH, "HOME": "/tmp", "XDG_RUNTIME_DIR": f"/run/user/{UID}"}
MEBI = 1 << 20


class PersonsRuntime(Runtime):
    """The runtime, called by the user from where the user's systemd may not move processes."""

    def argv(self, *words: str) -> list[str]:
        flags = ["--systemd-cgroup"] if words[0] in {"create", "run"} else []
        prefix = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
        return [*prefix, self.program, "--root", self.root, *flags, *words]

    def __call__(self, *words, **options):
        options.setdefault("env", ENVIRONMENT)
        return call(self.argv(*words), **options)


def lacks_user() -> str:
    """Return why there is no user whose systemd a test may restart, or ""."""
    return host.lacks_guest() or host.lacks_program("setpriv", "newuidmap", "newgidmap")


def of_user(*words):
    return call(["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *words],
                env=ENVIRONMENT)  # fmt: skip


def listed() -> set[str]:
    words = ["list-units", "--all", "--plain", "--no-legend", "--full", f"*{host.MARK}*"]
    return {line.split()[0] for line in of_user("systemctl", "--user", *words).ok().lines}


@pytest.fixture(scope="module", autouse=True)
def users_systemd(systemd):
    reason = lacks_user()
    if reason:
        pytest.skip(reason)
    deadline = time.monotonic() + units.WAIT_S
    while not os.path.exists(f"/run/user/{UID}/bus"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def runtime(_no_units, _no_leaks, program, scratch):
    root = f"{scratch}/of-{PERSON}"
    os.makedirs(root, exist_ok=True)
    os.chown(root, UID, UID)
    made = PersonsRuntime(program, root)
    yield made
    made.clean(_no_leaks.processes)
    shutil.rmtree(root)

    deadline = time.monotonic() + units.WAIT_S
    while listed() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert listed() == set()


@pytest.fixture
def bundle(new_scope):
    made = new_scope()
    del made.config["linux"]["resources"]
    made.config["linux"]["cgroupsPath"] = f"user.slice:test:{made.id}"
    made.namespace("user").namespace("cgroup")
    made.without_namespace("network")
    for kind in ("uidMappings", "gidMappings"):
        made.config["linux"][kind] = [
            {"containerID": 0, "hostID": UID, "size": 1},
            {"containerID": 1, "hostID": 100000, "size": 1000},
        ]
    # What a user may not mount without a network namespace of its own.
    made.config["mounts"] = [
        entry for entry in made.config["mounts"] if entry["type"] not in {"sysfs", "cgroup"}
    ]
    for entry in made.config["mounts"]:
        entry["options"] = [one for one in entry.get("options", []) if not one.startswith("gid=")]
    subprocess.run(["chown", "-R", f"{UID}:{UID}", made.path], check=True)
    os.chmod(made.path, 0o777)
    return made


def cgroup(bundle) -> str:
    return f"{MANAGER}/user.slice/test-{bundle.id}.scope"


def test_init_is_in_a_scope_of_the_users_systemd(runtime, bundle):
    container = runtime.create(bundle)

    assert cgroup(bundle) == cgroup_of(container.pid)
    assert {f"test-{bundle.id}.scope"} == listed()


def test_without_a_path_it_is_in_user_slice(runtime, bundle):
    del bundle.config["linux"]["cgroupsPath"]
    container = runtime.create(bundle)

    assert cgroup_of(container.pid).startswith(f"{MANAGER}/user.slice/")


def test_limits_of_a_user_hold(runtime, bundle):
    bundle.resources(pids={"limit": 50}, memory={"limit": 64 * MEBI})
    runtime.create(bundle)

    assert "50" == units.value(cgroup(bundle), "pids.max")
    assert str(64 * MEBI) == units.value(cgroup(bundle), "memory.max")
    shown = of_user("systemctl", "--user", "show", "-p", "TasksMax", f"test-{bundle.id}.scope")
    assert "TasksMax=50\n" == shown.out


@pytest.fixture
def less_delegated():
    """Give users less than systemd does by default, as distributions do."""
    directory = "/run/systemd/system/user@.service.d"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/less.conf", "w") as out:
        out.write("[Service]\nDelegate=\nDelegate=memory pids\n")
    restart()
    yield
    os.unlink(f"{directory}/less.conf")
    restart()


def restart():
    units.systemctl("daemon-reload").ok()
    units.systemctl("restart", f"user@{UID}.service").ok()


def test_a_limit_without_a_delegated_controller_is_refused(less_delegated, runtime, bundle):
    bundle.resources(unified={"io.max": "98:0 rbps=1048576"})
    result = runtime.try_create(bundle)

    assert result.code != 0
    assert listed() == set()
    if "aisbx" in runtime.program:
        assert '"io" controller is not delegated' in result.message


def test_device_rules_are_not_needed(runtime, bundle):
    bundle.resources(devices=[{"allow": False, "access": "rwm"}])

    assert "hello\n" == runtime.run(bundle, "echo hello").ok().out


def test_an_update_of_a_user(runtime, bundle):
    bundle.resources(pids={"limit": 50})
    runtime.create(bundle)
    runtime("update", "--pids-limit", "20", bundle.id).ok()

    assert "20" == units.value(cgroup(bundle), "pids.max")


def test_exec_joins_the_scope_from_outside_of_the_users_own_cgroups(runtime, bundle):
    # The user may not write there: cgroups(7), "delegation". The user's systemd asks the system's.
    if "aisbx" not in runtime.program:
        pytest.skip("crun fails there, runc's process is in the container without its limits")
    container = runtime.started(bundle)
    flags = ("--detach", f"--pid-file={bundle.path}/exec")
    container.exec("sleep", "1000", flags=flags).ok()

    assert cgroup(bundle) == cgroup_of(host.text_of(f"{bundle.path}/exec"))


def test_pause_and_delete(runtime, bundle):
    container = runtime.started(bundle)
    container.verb("pause").ok()
    frozen = units.value(cgroup(bundle), "cgroup.events")
    container.verb("resume").ok()
    container.delete("--force").ok()

    assert "frozen 1" in frozen
    assert listed() == set()


def test_the_systems_systemd_is_not_asked(runtime, bundle):
    runtime.create(bundle)

    assert units.listed() == set()


def test_without_a_systemd_of_the_user_create_fails_with_a_remedy(runtime, bundle):
    environment = {**ENVIRONMENT, "XDG_RUNTIME_DIR": "/nowhere"}
    result = runtime.try_create(bundle, env=environment)

    assert result.code != 0
    if "aisbx" in runtime.program:
        assert "/nowhere/bus: ENOENT" in result.message


@pytest.fixture
def unit():
    """The cgroup of a service of the user's that was delegated; its process sits below it."""
    name = f"test-{host.MARK}-caller"
    path = f"{MANAGER}/app.slice/{name}.service"
    script = f"mkdir {units.TOP}{path}/caller && echo 0 >{units.TOP}{path}/caller/cgroup.procs"
    words = ["--user", "--collect", "-p", "Delegate=yes", f"--unit={name}"]
    of_user("systemd-run", *words, "sh", "-c", f"{script} && exec sleep 1000").ok()
    deadline = time.monotonic() + units.WAIT_S
    while not os.path.exists(f"{units.TOP}{path}/caller"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield path
    of_user("systemctl", "--user", "stop", name).ok()


def test_a_delegated_unit_is_enough_for_limits_without_systemds_manager(runtime, bundle, unit):
    # The caller must not sit where the container's controllers are enabled: cgroups(7).
    bundle.config["linux"]["cgroupsPath"] = f"{unit}/{bundle.id}"
    bundle.resources(pids={"limit": 50}, memory={"limit": 64 * MEBI})
    bundle.script("exec sleep 1000").save()
    enter = ["sh", "-c", f'echo 0 >{units.TOP}{unit}/caller/cgroup.procs && exec "$@"', "sh"]
    person = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
    called = [*enter, *person, runtime.program, "--root", runtime.root]
    runtime.made.append(bundle.id)
    words = ["create", "--bundle", bundle.path, bundle.id]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    created = call([*called, *words], env=ENVIRONMENT, **quiet)
    found = [units.value(f"{unit}/{bundle.id}", name) for name in ("pids.max", "memory.max")]
    call([*called, "start", bundle.id], env=ENVIRONMENT).ok()
    call([*called, "delete", "--force", bundle.id], env=ENVIRONMENT).ok()

    assert created.code == 0
    assert found == ["50", str(64 * MEBI)]
    assert not units.exists(f"{unit}/{bundle.id}")
