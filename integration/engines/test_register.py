"""`aisbx-runtime register`: what it writes is what real engines read, and it takes it all back."""

from __future__ import annotations

import contextlib
import os
import tomllib

import pytest

from integration import host, needs
from integration.engines import register as registers
from integration.engines import rootless
from integration.engines.conftest import PERSON_ID
from integration.engines.docker import CGROUP, Daemon
from integration.runtime import call

DROP_IN = "/etc/containers/containers.conf.d/aisbx.conf"
# As Debian installs it for containerd 1 and 2.
DEBIANS = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
# Whatever stands there keeps every blank.
DAEMON_JSON = """\
{
\t"debug":   false,
\t"labels": [ "a=b" ]
}
"""


@pytest.fixture
def register(program, podman_session):
    """The verb as root, with the storage of podman's tests."""
    return registers.of_ours(program, podman_session.environment, [])


def states(document):
    return {file["path"]: file["state"] for file in document["files"]}


# ---- podman and buildah --------------------------------------------------------------------------
@pytest.fixture
def _registered_again(register):
    yield
    register("podman", "--no-check").ok()


@pytest.mark.usefixtures("_registered_again")
@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_podman_and_buildah_run_a_container_once_registered(register, podman, engine):
    removed = register.document(engine, "--remove")
    unknown = podman("--runtime", "aisbx", "info")
    written = register.document(engine)

    assert states(removed) == {DROP_IN: "removed"}
    assert unknown.code != 0
    assert states(written) == {DROP_IN: "written"}
    assert written["check"] == {"state": "passed", "why": ""}


def test_registering_again_changes_nothing_and_checks(register, podman):
    again = register.document("podman")

    assert states(again) == {DROP_IN: "unchanged"}
    assert again["check"]["state"] == "passed"


def test_print_shows_the_file_and_writes_none(register, podman):
    register("podman", "--remove").ok()
    shown = register("podman", "--print").ok().out
    is_there = os.path.exists(DROP_IN)
    register("podman", "--no-check").ok()

    assert not is_there
    assert shown == host.text_of(DROP_IN)


@pytest.mark.usefixtures("_registered_again")
@pytest.mark.parametrize("flag", ["--remove", "--no-check"])
def test_a_drop_in_that_was_edited_stays(register, podman, flag):
    text = host.text_of(DROP_IN)
    with open(DROP_IN, "a") as out:
        out.write("# mine\n")
    refused = register("podman", flag)
    left = host.text_of(DROP_IN)
    with open(DROP_IN, "w") as out:
        out.write(text)

    assert (refused.code, refused.out) == (1, "")
    assert "edited by somebody else" in refused.err
    assert left == f"{text}# mine\n"


def test_the_check_sees_that_another_file_wins(register, podman, program):
    other, path = "/etc/containers/containers.conf.d/zz-other.conf", "/etc/containers/other"
    os.symlink(program, path)
    with open(other, "w") as out:
        out.write(f'[engine.runtimes]\naisbx = ["{path}"]\n')
    result = register("podman")
    os.unlink(other)
    os.unlink(path)

    assert result.code == 1
    assert f"podman takes {path} for aisbx" in result.err


def test_a_check_that_fails_says_what_podman_said(register, podman):
    register.environment["CONTAINERS_STORAGE_CONF"] = "/nonexistent/storage.conf"
    result = register("podman")

    assert result.code == 1
    assert "/nonexistent/storage.conf" in result.err


def test_a_user_registers_for_himself(program, containers_etc, image_tar, scratch, subordinate_ids):
    registers.of_ours(program, {}, [])
    made = rootless.podman_of(PERSON_ID, program, scratch, image_tar)
    register = registers.of_ours(program, made.environment, made.prefix)
    path = f"{made.environment['HOME']}/.config/containers/containers.conf.d/aisbx.conf"
    try:
        written = register.document("podman")
        removed = register.document("podman", "--remove")
    finally:
        made("system", "migrate")  # ends the pause process

    assert states(written) == {path: "written"}
    assert written["check"] == {"state": "passed", "why": ""}
    assert states(removed) == {path: "removed"}


# ---- containerd ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def containerd_etc(scratch):
    """A private /etc/containerd and a /usr/local/bin to write to."""
    reason = host.lacks_program("containerd", "ctr", "containerd-shim-runc-v2")
    if reason:
        pytest.skip(reason)
    registers.be_writable("/usr/local/bin", scratch)
    with registers.private("/etc/containerd") as path:
        yield path


@pytest.fixture
def containerd_files(containerd_etc, register):
    """Their paths, with nothing there."""
    yield {
        "main": f"{containerd_etc}/config.toml",
        "drop_in": f"{containerd_etc}/conf.d/aisbx.toml",
        "shim": "/usr/local/bin/containerd-shim-aisbx-v1",
    }
    register("containerd", "--remove").ok()
    if os.path.exists(f"{containerd_etc}/config.toml"):
        os.unlink(f"{containerd_etc}/config.toml")


def settings_read_by_containerd():
    """Return what the installed containerd makes of its files."""
    return call(["containerd", "config", "dump"]).ok().out


def handler_of(dump, program):
    """Return the runtime handler, from the plugin that has it in this version."""
    plugins = tomllib.loads(dump)["plugins"]
    found = [plugin for plugin in plugins if "aisbx" in str(plugins[plugin])]

    assert len(found) == 1
    return plugins[found[0]]["containerd"]["runtimes"]["aisbx"]


def test_containerd_without_a_configuration_gets_one(register, program, containerd_files):
    written = register.document("containerd", "--no-check")
    handler = handler_of(settings_read_by_containerd(), program)
    removed = register.document("containerd", "--remove")

    assert states(written) == dict.fromkeys(
        (containerd_files[name] for name in ("shim", "drop_in", "main")), "written"
    )
    assert written["left"] == []
    assert handler["runtime_type"] == "io.containerd.runc.v2"
    assert handler["options"]["BinaryName"] == program
    assert set(states(removed).values()) == {"removed"}
    assert not any(os.path.exists(path) for path in containerd_files.values())


def test_what_is_left_to_do_by_hand_makes_containerd_read_it(register, program, containerd_files):
    # containerd 1 replaces whole tables by those of a drop-in, containerd 2 does not.
    with open(containerd_files["main"], "w") as out:
        out.write(DEBIANS)
    written = register.document("containerd", "--no-check")
    (told,) = written["left"]
    untouched = host.text_of(containerd_files["main"])
    _, _, lines = told.partition(":\n")
    with open(containerd_files["main"], "w") as out:
        out.write(lines + DEBIANS if lines.startswith("imports") else DEBIANS + lines)
    dump = settings_read_by_containerd()

    assert untouched == DEBIANS
    assert handler_of(dump, program)["options"]["BinaryName"] == program
    assert "/usr/lib/cni" in dump


@needs.controllers("cpu")
def test_containerd_runs_a_container_once_registered(register, ctr_session, containerd_files):
    register.environment["CONTAINERD_ADDRESS"] = ctr_session.address
    first = ctr_session("run", "--runtime", "io.containerd.aisbx.v1", "--rm", "x", "x", "true")
    written = register.document("containerd")
    left = call(["ctr", "--address", ctr_session.address, "containers", "ls", "-q"])

    assert first.code != 0
    assert written["check"] == {"state": "passed", "why": ""}
    assert left.ok().out == ""


def test_a_containerd_that_does_not_run_is_told(register, containerd_files):
    register.environment["CONTAINERD_ADDRESS"] = "/nonexistent/socket"
    written = register.document("containerd")

    assert written["check"]["state"] == "left out"
    assert "does not run" in written["check"]["why"]


# ---- Docker --------------------------------------------------------------------------------------
@pytest.fixture
def daemon(scratch, _no_leaks):
    """A dockerd that reads /etc/docker/daemon.json, a private one."""
    reason = host.lacks_program("dockerd", "docker", "containerd")
    if reason:
        pytest.skip(reason)
    with registers.private("/etc/docker") as etc:
        with open(f"{etc}/daemon.json", "w") as out:
            out.write(DAEMON_JSON)
        with contextlib.closing(Daemon(f"{scratch}/dockerd", f"{etc}/daemon.json", {})) as made:
            made.wait_for("{{json .Runtimes}}", "runc")
            yield made
        host.remove_cgroups(CGROUP.removeprefix("/"))


def test_docker_runs_a_container_once_it_has_read_daemon_json(register, daemon, program):
    path = "/etc/docker/daemon.json"
    register.environment |= daemon.client()
    early = register.document("docker")
    daemon.reload()
    daemon.wait_for("{{json .Runtimes}}", program)
    again = register.document("docker")
    images = call(["docker", "images", "--quiet"], env=daemon.client()).ok().out
    removed = register.document("docker", "--remove")
    left = host.text_of(path)
    daemon.close()
    with contextlib.closing(Daemon(daemon.top, path, {})) as next_daemon:
        known = next_daemon.wait_for("{{json .Runtimes}}", "runc")

    assert states(early) == {f"{path}.before-aisbx": "written", path: "changed"}
    assert early["check"]["state"] == "left out"
    assert "not read daemon.json yet" in early["check"]["why"]
    assert states(again) == {path: "unchanged"}
    assert again["check"] == {"state": "passed", "why": ""}
    assert images == ""
    assert states(removed) == {path: "changed", f"{path}.before-aisbx": "removed"}
    assert removed["restart"] == "systemctl restart docker"
    assert left == DAEMON_JSON
    assert program not in known


# ---- CRI-O ---------------------------------------------------------------------------------------
def test_crio_gets_a_drop_in_and_nothing_else(register, program, scratch):
    path = "/etc/crio/crio.conf.d/aisbx.conf"
    with registers.private("/etc/crio"):
        written = register.document("cri-o")
        with open(path, "rb") as drop_in:
            runtimes = tomllib.load(drop_in)["crio"]["runtime"]["runtimes"]
        removed = register.document("cri-o", "--remove")

    assert states(written) == {path: "written"}
    assert runtimes["aisbx"]["runtime_path"] == program
    assert written["check"]["state"] == "left out"
    assert states(removed) == {path: "removed"}
