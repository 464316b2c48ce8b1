"""What is written for podman, CRI-O and containerd, and when it is left to a person."""

from __future__ import annotations

import tomllib

import pytest

from aisbx_runtime.oci.errors import HostError, UsageError
from aisbx_runtime.oci.register import containerd, crio, podman, shim
from aisbx_runtime.oci.register.change import apply, marked
from aisbx_runtime.oci.register.engine import registration

PROGRAM, LIBRARY = "/opt/aisbx/bin/aisbx-runtime", "/opt/aisbx/lib"
CRI = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}


def test_podman_gets_the_program_and_whole_lists():
    engine = tomllib.loads(podman.text(PROGRAM))["engine"]

    assert {"aisbx": [PROGRAM]} == engine["runtimes"]
    # podman 4 replaces its own lists by these.
    assert {"crun", "runc", "aisbx"} <= set(engine["runtime_supports_json"])
    assert ["crun", "krun", "aisbx"] == engine["runtime_supports_nocgroup"]


def test_crio_gets_a_handler():
    runtimes = tomllib.loads(crio.text(PROGRAM))["crio"]["runtime"]["runtimes"]

    assert runtimes == {
        "aisbx": {"runtime_path": PROGRAM, "runtime_type": "oci", "runtime_root": "/run/aisbx"}
    }


@pytest.mark.parametrize("engine", ["podman", "buildah"])
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/me"}, "/home/me/.config"),
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": ""}, "/home/me/.config"),
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": "/elsewhere"}, "/elsewhere"),
    ],
)
def test_a_user_has_settings_of_his_own(monkeypatch, engine, environment, expected):
    monkeypatch.setattr(podman.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(podman.os, "environment", environment.get)
    (change,) = registration(engine, PROGRAM, LIBRARY).changes

    assert change.path == f"{expected}/containers/containers.conf.d/aisbx.conf"


def test_a_user_without_a_home_is_refused(monkeypatch):
    monkeypatch.setattr(podman.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(podman.os, "environment", {}.get)
    with pytest.raises(HostError, match="settings"):
        podman.etc_of_caller()


@pytest.mark.parametrize("engine", ["containerd", "docker", "cri-o"])
def test_the_engines_of_the_machine_are_for_root(monkeypatch, engine):
    monkeypatch.setattr(podman.os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="root"):
        registration(engine, PROGRAM, LIBRARY)


def test_an_unknown_engine_is_refused():
    with pytest.raises(UsageError, match="no such engine"):
        registration("rkt", PROGRAM, LIBRARY)


# ---- the shim ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("program", "daemon", "is_written"),
    [
        ("/usr/local/bin/aisbx-runtime", None, False),
        ("/usr/bin/aisbx-runtime", "/usr/bin/containerd", False),
        ("/opt/x/bin/aisbx-runtime", "/opt/x/bin/containerd", False),
        (PROGRAM, "/usr/bin/containerd", True),
        (PROGRAM, None, True),
    ],
)
def test_a_shim_is_written_where_containerd_would_find_none(tmp_path, program, daemon, is_written):
    change = shim.change(program, LIBRARY, str(tmp_path), daemon, remove=False)

    assert (change is not None) == is_written


def test_a_directory_with_a_quote_stays_one_word():
    assert "PATH='/o'\\''brien/bin/shim':" in shim.text(shim.directory_of("/o'brien"))


# ---- containerd ----------------------------------------------------------------------------------
class Etc:
    """A directory in the place of /etc, with a config.toml or without."""

    def __init__(self, path, config=None):
        self.path = path
        self.main = path / "containerd/config.toml"
        self.drop_in = path / "containerd/conf.d/aisbx.toml"
        self.main.parent.mkdir()
        if config is not None:
            self.main.write_bytes(config if isinstance(config, bytes) else config.encode())

    def register(self, major=None, *, remove=False):
        found = containerd.registration(
            PROGRAM, LIBRARY, str(self.path), shims=f"{self.path}/bin", major=major, remove=remove
        )
        for change in found.changes:
            apply(change)
        return found

    def handler(self, version):
        with open(self.drop_in, "rb") as file:
            settings = tomllib.load(file)

        assert settings["version"] == version
        return settings["plugins"][CRI[version]]["containerd"]["runtimes"]["aisbx"]


@pytest.mark.parametrize(("major", "version"), [(1, 2), (2, 3), (None, 3)])
def test_without_a_configuration_one_is_made_that_imports_ours(tmp_path, major, version):
    etc = Etc(tmp_path)
    found = etc.register(major)
    main = tomllib.loads(etc.main.read_text())

    assert main == {"version": version, "imports": [f"{tmp_path}/containerd/conf.d/*.toml"]}
    assert etc.handler(version)["options"]["BinaryName"] == PROGRAM
    assert found.left == ()


def test_what_was_made_is_removed(tmp_path):
    etc = Etc(tmp_path)
    etc.register()
    etc.register(remove=True)

    assert not etc.main.exists()
    assert not etc.drop_in.exists()
    assert list((tmp_path / "bin").iterdir()) == []


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("imports", ["/containerd/conf.d/*.toml", "conf.d/*.toml"])
def test_a_configuration_that_imports_needs_nothing_more(tmp_path, version, imports):
    word = f"{tmp_path}{imports}" if imports.startswith("/") else imports
    text = f'version = {version}\nimports = ["{word}"]\n'
    etc = Etc(tmp_path, text)
    found = etc.register(2)

    assert found.left == ()
    assert etc.handler(version)["runtime_type"] == "io.containerd.runc.v2"
    assert etc.main.read_text() == text


def test_a_configuration_that_imports_nothing_is_left_to_a_person(tmp_path):
    etc = Etc(tmp_path, "version = 3\n")
    (told,) = etc.register(2).left

    assert f'imports = ["{tmp_path}/containerd/conf.d/*.toml"]' in told
    assert etc.main.read_text() == "version = 3\n"


def test_a_drop_in_that_containerd_1_would_put_in_the_place_of_all_is_left_to_a_person(tmp_path):
    text = f'version = 2\n[plugins."{CRI[2]}"]\nsandbox_image = "x"\n'
    etc = Etc(tmp_path, text)
    (told,) = etc.register(1).left
    _, _, lines = told.partition(":\n")
    settings = tomllib.loads(text + lines)["plugins"][CRI[2]]

    assert not etc.drop_in.exists()
    assert settings["sandbox_image"] == "x"
    assert settings["containerd"]["runtimes"]["aisbx"]["options"]["BinaryName"] == PROGRAM


@pytest.mark.parametrize("text", ["", "version = 1\n", "version = 4\n"])
def test_a_version_that_is_not_known_is_left_to_a_person(tmp_path, text):
    etc = Etc(tmp_path, text)

    assert "only 2 and 3" in etc.register(2).left[0]
    assert not etc.drop_in.exists()


@pytest.mark.parametrize("version", [2, 3])
def test_the_cgroup_driver_is_that_of_runc(tmp_path, version):
    text = (
        f"version = {version}\n"
        f'[plugins."{CRI[version]}".containerd.runtimes.runc.options]\nSystemdCgroup = true\n'
    )
    etc = Etc(tmp_path, text)
    etc.register(2)

    assert etc.handler(version)["options"]["SystemdCgroup"] is True


@pytest.mark.parametrize("data", [b"version = \n", b"\xff"])
def test_a_configuration_that_is_no_toml_is_refused(tmp_path, data):
    with pytest.raises(HostError, match="not TOML"):
        Etc(tmp_path, data).register(2)


def test_nothing_is_written_when_one_file_is_somebody_elses(tmp_path):
    etc = Etc(tmp_path)
    etc.drop_in.parent.mkdir()
    etc.drop_in.write_text("theirs\n")
    with pytest.raises(HostError, match="somebody else"):
        etc.register()

    assert not etc.main.exists()
    assert not (tmp_path / "bin").exists()


def test_a_drop_in_of_an_older_version_is_replaced(tmp_path):
    etc = Etc(tmp_path)
    etc.drop_in.parent.mkdir()
    etc.drop_in.write_bytes(marked("version = 2\n"))
    etc.register(2)

    assert etc.handler(3)["options"]["BinaryName"] == PROGRAM
