"""Engines for tests: podman and buildah with storage and configuration of their own, containerd.

All lies below the session's scratch directory and in a private /etc/containers, so that the
machine's own images, containers and settings are neither used nor touched.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from aisbx_runtime.install import DROP_IN, DROP_IN_MARK
from integration import host
from integration.runtime import PATH, Result, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.bundle import Template

IMAGE = "localhost/box"
# conmon's cleanup process is what makes a test's teardown wait; three engines share one machine.
SLOW_S = 120

STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{top}/graph"
runroot = "{top}/run"
"""

SETTINGS = """\
[containers]
default_ulimits = ["nofile={nofile}:{nofile}", "nproc=32768:32768"]
{pids}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(text)


def settings() -> str:
    """Return containers.conf: a host without CAP_SYS_RESOURCE cannot raise limits."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return SETTINGS.format(
        nofile=min(hard, 20000),
        pids="pids_limit = 0" if host.lacks_controller("pids") else "",
    )


def overlay_works(top: str) -> bool:
    """Tell whether an overlay can be mounted with its upper directory here."""
    names = {name: f"{top}/probe/{name}" for name in ("lower", "upper", "work", "merged")}
    for path in names.values():
        os.makedirs(path)
    data = "lowerdir={lower},upperdir={upper},workdir={work}".format(**names)
    try:
        host.mount("overlay", names["merged"], "overlay", data=data)
    except OSError:
        return False
    host.umount(names["merged"])
    return True


@pytest.fixture(scope="session")
def image_tar(scratch: str, template: Template) -> str:
    """The busybox rootfs as a tar archive, to import."""
    rootfs = f"{scratch}/image"
    os.mkdir(rootfs)
    template.fill(rootfs)
    path = f"{scratch}/image.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(rootfs, arcname=".")
    return path


@pytest.fixture(scope="session")
def containers_etc(scratch: str, program: str) -> str:
    """A private /etc/containers, with the drop-in that `make install` writes."""
    top = f"{scratch}/containers"
    os.mkdir(top)
    os.makedirs("/etc/containers", exist_ok=True)
    host.mount("tmpfs", "/etc/containers", "tmpfs")
    driver = "overlay" if overlay_works(top) else "vfs"
    etc = "/etc/containers"
    write(f"{etc}/storage.conf", STORAGE.format(driver=driver, top=top))
    write(f"{etc}/containers.conf", settings())
    write(f"{etc}/policy.json", json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    write(f"{etc}/registries.conf", "")
    drop_in = DROP_IN.format(mark=DROP_IN_MARK, program=program)
    write(f"{etc}/containers.conf.d/aisbx.conf", drop_in)
    return top


class Podman:
    """podman on top of the runtime under test."""

    def __init__(self, program: str, environment: dict[str, str], prefix: list[str]) -> None:
        self.program = program
        self.environment = environment
        self.prefix = prefix

    def argv(self, *words: str, runtime: str | None = None) -> list[str]:
        return [*self.prefix, "podman", "--runtime", runtime or self.program, *words]

    def __call__(self, *words: str, runtime: str | None = None, **options: Any) -> Result:
        options.setdefault("env", self.environment)
        options.setdefault("timeout", SLOW_S)
        return call(self.argv(*words, runtime=runtime), **options)

    def run(self, *words: str, **options: Any) -> Result:
        """Run a container that is removed at its end, without a network of its own."""
        return self("run", "--rm", "--network", "none", *words, **options)

    def up(self, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        """Start a container in the background and return its id."""
        return self("run", "-d", "--network", "none", *words, IMAGE, *command).ok().out.strip()

    def inspect(self, container: str, template: str) -> str:
        return self("inspect", "--format", template, container).ok().out.strip()


@pytest.fixture(scope="session")
def podman_session(program: str, containers_etc: str, image_tar: str) -> Podman:
    reason = host.lacks_program("podman", "conmon")
    if reason:
        pytest.skip(reason)
    environment = {"PATH": PATH, "HOME": containers_etc, "TMPDIR": containers_etc, "LANG": "C"}
    made = Podman(program, environment, [])
    made("import", image_tar, IMAGE).ok()
    return made


@pytest.fixture
def podman(podman_session: Podman, _no_leaks: None) -> Iterator[Podman]:
    yield podman_session
    podman_session("pod", "rm", "--force", "--all", "--time", "0").ok()
    podman_session("rm", "--force", "--all", "--time", "0").ok()


def environment_without(*names: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in names}


def wait_for_file(process: subprocess.Popen[bytes], path: str) -> None:
    """Wait until a daemon has made its socket, or has died."""
    command = ["sh", "-c", 'while ! test -e "$1" && kill -0 "$2"; do usleep 20000; done', "sh"]
    subprocess.run([*command, path, str(process.pid)], check=True, timeout=SLOW_S)
    assert process.poll() is None
