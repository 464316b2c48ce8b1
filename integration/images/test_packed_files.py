"""Every reader of a packed image sees the files that the container saw."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.contents import opened
from aisbx_runtime.sandbox.images.import_ import import_directory
from aisbx_runtime.sandbox.images.pack import base_of, pack
from aisbx_runtime.sandbox.images.push import push
from aisbx_runtime.sandbox.store import Store
from aisbx_runtime.sandbox.tree import Mapping, Overlay, make, walk
from integration import host
from integration.images import packing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.bundle import Template
    from integration.engines.podman import Podman


@pytest.fixture(scope="module")
def place(scratch: str) -> Iterator[str]:
    with packing.ground(scratch) as path:
        yield path


class Made:
    """A container's root that was changed, and what was seen in it."""

    def __init__(self, rootfs: str, overlay: packing.Overlay) -> None:
        self.rootfs = rootfs
        self.overlay = overlay
        packing.inside(self.overlay.merged, packing.CHANGES)
        self.files = packing.seen(self.overlay.merged)


@pytest.fixture(scope="module")
def tree(scratch: str) -> str:
    path = f"{scratch}/tree"
    source = os.path.join(os.path.dirname(packing.__file__), "../probes/tree.c")
    subprocess.run(["cc", "-static", "-O1", "-Wall", "-o", path, source], check=True)
    return path


@pytest.fixture(scope="module")
def made(place: str, template: Template, tree: str) -> Iterator[Made]:
    rootfs = f"{place}/base"
    packing.base_rootfs(rootfs, template, tree)
    overlay = packing.Overlay(rootfs, f"{place}/overlay")
    try:
        yield Made(rootfs, overlay)
    finally:
        overlay.close()


@pytest.fixture(scope="module")
def store(place: str, made: Made) -> Store:
    """A store with the base, and the packed image on it."""
    found = Store.open(f"{place}/store")
    import_directory(found, made.rootfs, "base")
    packed(found, made, "packed")
    return found


@contextmanager
def directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def packed(store: Store, made: Made, name: str) -> str:
    base = layout.find(store, "docker://docker.io/library/base:latest")
    with directory(made.overlay.upper) as fd:
        found = pack(
            store, base_of(store, base.digest), walk(fd), lambda entry: opened(fd, entry), name
        )
    assert found.sockets == 1

    return found.digest


def test_the_container_saw_what_the_test_is_about(made: Made) -> None:
    text = "\n".join(made.files)

    assert len(made.files) > 300
    for piece in (
        "srv/not-utf-8-\\ff\\fe", "user.note=\\00\\ff\\0a=1", "security.capability=",
        "system.posix_acl_access=", "30000004", " 6755 7:8 ", "srv/a-name-before-one user.note",
        "srv/lower-link", "srv/fifo p 0000", "srv/opaque/new",
    ):  # fmt: skip
        assert piece in text
    for piece in ("srv/opaque/old", "srv/gone", "srv/file-gone", "srv/links/a ", "\nopt "):
        assert piece not in text


def test_ids_of_a_user_namespace_are_those_inside_in_the_image(
    store: Store, made: Made, place: str
) -> None:
    mapping = Mapping.of([[0, 100_000, 65_536]], [[0, 200_000, 65_536]])
    overlay = Overlay("user")
    base = layout.find(store, "docker://docker.io/library/base:latest")
    os.mkdir(f"{place}/mapped")
    with directory(made.overlay.upper) as source_fd, directory(f"{place}/mapped") as fd:
        # As a container of that namespace would have left it, capabilities and access lists too.
        entries = walk(source_fd, digest=True)
        make(fd, entries, lambda entry: opened(source_fd, entry), mapping, overlay=overlay)
        found = os.stat(f"{place}/mapped/srv/setuid")
        capability = os.getxattr(f"{place}/mapped/srv/copied", "security.capability")
        mapped = walk(fd, mapping, overlay=overlay)
        image = pack(
            store, base_of(store, base.digest), mapped, lambda one: opened(fd, one), "mapped"
        )

    assert (found.st_uid, found.st_gid) == (100_007, 200_008)
    assert int.from_bytes(capability[20:], "little") == 100_000
    assert image.digest == layout.find(store, "docker://docker.io/library/packed:latest").digest


def unpacked(store: Store, name: str, place: str) -> str:
    """Return the rootfs that umoci makes of an image."""
    push(store, name, f"oci:{place}/{name}-layout:{name}")
    bundle = f"{place}/{name}-bundle"
    words = ["umoci", "unpack", "--image", f"{place}/{name}-layout:{name}", bundle]
    subprocess.run(words, check=True, capture_output=True)
    return f"{bundle}/rootfs"


def test_umoci_unpacks_the_base_as_it_was(store: Store, made: Made, place: str) -> None:
    assert packing.seen(made.rootfs) == packing.seen(unpacked(store, "base", place))


def test_umoci_unpacks_the_files_that_the_container_saw(
    store: Store, made: Made, place: str
) -> None:
    assert made.files == packing.seen(unpacked(store, "packed", place))


def podman_sees(engine: Podman, image: str, expected: list[str]) -> None:
    words = ["--pull", "never", "--no-hosts", image, "sh", "-c", packing.LIST]
    found = packing.files_of(engine.run(*words).ok().out)
    if host.lacks_user_xattrs(engine.environment["TMPDIR"]):
        expected = packing.without_user_xattrs(expected)

    # containers/storage gives every root directory the mode 0555.
    assert expected[1:] == found[1:]


def test_podman_runs_what_was_pushed_to_its_own_storage(
    store: Store, made: Made, podman: Podman
) -> None:
    push(store, "packed", "containers-storage:localhost/packed:1")

    podman_sees(podman, "localhost/packed:1", made.files)


def test_podman_pulls_from_a_layout(store: Store, made: Made, place: str, podman: Podman) -> None:
    push(store, "packed", f"oci:{place}/for-podman:of-layout")
    image = podman("pull", "-q", f"oci:{place}/for-podman:of-layout").ok().out.strip()

    podman_sees(podman, image, made.files)
