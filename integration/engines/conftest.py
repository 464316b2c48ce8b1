"""Engines for tests: podman and buildah with storage and configuration of their own, containerd.

All lies below the session's scratch directory and in a private /etc/containers, so that the
machine's own images, containers and settings are neither used nor touched.
"""

from __future__ import annotations

import json
import os
import resource
import tarfile
from typing import TYPE_CHECKING

import pytest

from aisbx_runtime.oci.register import podman as drop_in
from aisbx_runtime.oci.register.change import marked
from integration import host, leaks
from integration.engines.buildah import Buildah
from integration.engines.containerd import Ctr, Daemon
from integration.engines.podman import IMAGE, Podman
from integration.runtime import PATH, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.bundle import Template

STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{top}/graph"
runroot = "{top}/run"
"""

SETTINGS = """\
[containers]
default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]
{pids}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
{firewall}
"""


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(text)


def settings() -> str:
    """Return containers.conf: a host without CAP_SYS_RESOURCE cannot raise limits."""
    hard = {
        name: resource.getrlimit(number)[1] % (1 << 64)  # -1: no limit
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    }
    return SETTINGS.format(
        nofile=min(hard["nofile"], 20000),
        nproc=min(hard["nproc"], 32768),
        pids="pids_limit = 0" if host.lacks_controller("pids") else "",
        firewall='firewall_driver = "none"' if lacks_firewall() else "",
    )


def lacks_firewall() -> bool:
    """Tell whether this kernel lacks what netavark's firewall is made of."""
    if host.lacks_program("nft"):
        return False
    return call(["unshare", "--net", "nft", "add", "table", "inet", "probe"]).code != 0


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
    path = f"{scratch}/image.tar"
    if os.path.exists(path):
        # Made for another directory of tests, whose conftest has these fixtures as well.
        return path
    rootfs = f"{scratch}/image"
    os.mkdir(rootfs)
    template.fill(rootfs)
    with tarfile.open(path, "w") as archive:
        archive.add(rootfs, arcname=".")
    return path


@pytest.fixture(scope="session")
def containers_etc(scratch: str, program: str) -> str:
    """A private /etc/containers, with the drop-in that `make install` writes."""
    top = f"{scratch}/containers"
    if os.path.exists(top):
        # As above.
        return top
    os.mkdir(top)
    os.makedirs("/etc/containers", exist_ok=True)
    host.mount("tmpfs", "/etc/containers", "tmpfs")
    driver = "overlay" if overlay_works(top) else "vfs"
    etc = "/etc/containers"
    write(f"{etc}/storage.conf", STORAGE.format(driver=driver, top=top))
    write(f"{etc}/containers.conf", settings())
    write(f"{etc}/policy.json", json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    write(f"{etc}/registries.conf", "")
    write(drop_in.path_below("/etc"), marked(drop_in.text(program)).decode())
    return top


@pytest.fixture(scope="session")
def podman_session(program: str, containers_etc: str, image_tar: str) -> Iterator[Podman]:
    reason = host.lacks_program("podman", "conmon")
    if reason:
        pytest.skip(reason)
    environment = {"PATH": PATH, "HOME": containers_etc, "TMPDIR": containers_etc, "LANG": "C"}
    made = Podman(program, environment, [])
    made("import", image_tar, IMAGE).ok()
    parent = "libpod_parent"
    ours = not any(os.path.isdir(f"{top}/{parent}") for top in host.hierarchies().values())
    yield made
    if ours:
        host.remove_cgroups(parent)


@pytest.fixture
def podman(podman_session: Podman, expected_processes: set[int]) -> Iterator[Podman]:
    yield podman_session
    if podman_session("pod", "rm", "--force", "--all", "--time", "0").code:
        # podman 4 cannot remove the cgroup of a pod while a conmon of it is about to end.
        leaks.wait_for_end(expected_processes)
        podman_session("pod", "rm", "--force", "--all", "--time", "0").ok()
    if podman_session("rm", "--force", "--all", "--time", "0").code:
        # With mapped ids podman and its cleanup process race for the container's shm.
        leaks.wait_for_end(expected_processes)
        podman_session("rm", "--force", "--all", "--time", "0").ok()


SUBORDINATE = "containers:200000:1000000\naisbx-it:2000000:65536\n"
PERSON, PERSON_ID = "aisbx-it", 4242


@pytest.fixture(scope="session")
def subordinate_ids(scratch: str) -> None:
    """A private passwd, subuid and subgid with a person who may map ids."""
    top = f"{scratch}/etc"
    lines = f"{PERSON}:x:{PERSON_ID}:{PERSON_ID}::{scratch}/person:/bin/sh\n"
    # Whose ids `--userns auto` takes: libsubid of podman 5 looks the name up.
    lines += "containers:x:4243:4243::/nonexistent:/usr/sbin/nologin\n"
    write(f"{top}/passwd", host.text_of("/etc/passwd") + lines)
    write(f"{top}/group", host.text_of("/etc/group") + f"{PERSON}:x:{PERSON_ID}:\n")
    for name in ("subuid", "subgid"):
        write(f"{top}/{name}", SUBORDINATE)
    for name in ("passwd", "group", "subuid", "subgid"):
        if os.path.exists(f"/etc/{name}"):
            host.mount(f"{top}/{name}", f"/etc/{name}", flags=host.MS_BIND)
        else:
            pytest.skip(f"no /etc/{name} on this host")


@pytest.fixture(scope="session")
def pod_infra(podman_session: Podman) -> list[str]:
    """The flags of `pod create` that need neither network nor a build."""
    if host.unified() and " 4.3." in podman_session("--version").out:
        pytest.skip("podman 4.3 denies every device to the cgroup of a pod on cgroup v2")
    return ["--infra-image", IMAGE, "--infra-command", "sleep 1000"]


@pytest.fixture(scope="session")
def image_archive(podman_session: Podman, scratch: str) -> str:
    """The image as `docker save` writes it."""
    path = f"{scratch}/box.tar"
    podman_session("save", "--format", "docker-archive", "-o", path, IMAGE).ok()
    return path


@pytest.fixture(scope="session")
def ctr_session(image_archive: str, scratch: str, program: str) -> Iterator[Ctr]:
    reason = host.lacks_program("containerd", "ctr", "containerd-shim-runc-v2")
    if reason:
        pytest.skip(reason)
    top = f"{scratch}/containerd"
    os.makedirs(f"{top}/bin")
    # ctr 1.6 forgets --runc-binary when ids are mapped: the shim takes runc from PATH then.
    os.symlink(program, f"{top}/bin/runc")
    daemon = Daemon(top, f"{top}/bin")
    try:
        daemon.wait_ready()
        made = Ctr(daemon, ["--runc-binary", program])
        made.import_image(image_archive)
        yield made
    finally:
        daemon.end()


@pytest.fixture
def ctr(ctr_session: Ctr, _no_leaks: None) -> Iterator[Ctr]:
    yield ctr_session
    ctr_session.clean()


@pytest.fixture
def buildah(podman_session: Podman, _no_leaks: None) -> Iterator[Buildah]:
    reason = host.lacks_program("buildah")
    if reason:
        pytest.skip(reason)
    made = Buildah(podman_session.program, podman_session.environment)
    yield made
    made("rm", "--all").ok()
