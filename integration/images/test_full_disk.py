"""A disk that is full, or becomes full in the middle: a clear error, and nothing was changed."""

from __future__ import annotations

import contextlib
import os

import pytest

from aisbx_runtime.sandbox.errors import HostError, SandboxError
from aisbx_runtime.sandbox.images import gc, layout
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.store import Store
from integration import host
from integration.images.making import Image, file, layer, sound
from integration.images.seen import Steps, held, tree

pytestmark = pytest.mark.skipif("host.lacks_rights()", reason="cannot mount")
MIB = 1 << 20


@pytest.fixture
def small(ground):
    """Yield a function that makes a store on a file system of so many bytes and inodes."""
    path = f"{ground}/small"
    os.mkdir(path)
    mounted = []

    def make(size: int, inodes: int = 10_000) -> Store:
        host.mount("tmpfs", path, "tmpfs", data=f"size={size},nr_inodes={inodes}")
        mounted.append(path)
        return Store.open(f"{path}/store")

    yield make
    for one in mounted:
        host.umount(one)


def refused(store: Store, image: Image) -> SandboxError:
    before = held(store.path)
    with pytest.raises(SandboxError) as caught:
        rootfs_of(store, image.reference, Steps())

    after = held(store.path)
    assert ([], before["rootfs"], before["refs"]) == (after["work"], after["rootfs"], after["refs"])
    return caught.value


def test_no_room_for_the_layers(small, ground):
    store = small(4 * MIB)
    error = refused(store, Image(f"{ground}/image", layer(file("x", os.urandom(6 * MIB)))))

    assert isinstance(error, HostError)
    assert "the disk has no room to copy" in error.what
    assert "aisbx image gc" in error.hint
    assert {} == layout.names(store)
    assert [] == held(store.path)["layout/blobs/sha256"]


def test_no_room_for_the_rootfs(small, ground):
    # Reads as 12 MiB in layers of 4, each of which has room.
    zeros = [layer(file(f"x{number}", bytes(4 * MIB))) for number in range(3)]
    store = small(8 * MIB)
    error = refused(store, Image(f"{ground}/image", *zeros))

    assert isinstance(error, HostError)
    assert "the disk has no room to unpack" in error.what


def test_no_room_for_one_layer(small, ground):
    store = small(4 * MIB)
    error = refused(store, Image(f"{ground}/image", layer(file("x", bytes(20 * MIB)))))

    assert isinstance(error, HostError)
    assert "the disk has no room to unpack the layer" in error.what


def test_no_inodes_for_the_rootfs(small, ground):
    files = [(f"f{number}", b"") for number in range(300)]
    error = refused(small(30 * MIB, 200), Image(f"{ground}/image", layer(*files)))

    assert isinstance(error, HostError)
    assert "no inodes left" in error.what


class Filling(Steps):
    """Fills the disk when a step begins."""

    def __init__(self, path: str, begins: str) -> None:
        super().__init__()
        self.path = path
        self.begins = begins

    def step(self, what: str, total_bytes: int = 0) -> None:
        super().step(what, total_bytes)
        if what.startswith(self.begins):
            with open(self.path, "wb", buffering=0) as out, contextlib.suppress(OSError):
                while True:
                    out.write(bytes(4096))


@pytest.mark.parametrize("step", ["looking", "copying", "checking digests", "unpacking"])
def test_a_disk_that_becomes_full(small, ground, step):
    store = small(30 * MIB)
    image = Image(f"{ground}/image", sound(), layer(file("x", os.urandom(2 * MIB))))
    steps = Filling(f"{ground}/small/filler", step)
    before = held(store.path)
    with pytest.raises(SandboxError) as caught:
        rootfs_of(store, image.reference, steps)

    after = held(store.path)
    assert any(what.startswith(step) for what in steps.steps)
    reason = f"{caught.value.what} {caught.value.why}"
    assert any(word in reason for word in ("no space left", "ENOSPC", "no room")), reason
    assert ([], before["rootfs"], before["refs"]) == (after["work"], after["rootfs"], after["refs"])
    os.unlink(steps.path)
    made = rootfs_of(store, image.reference, Steps())
    gc.collect(store, Steps())

    assert {"etc", "etc/passwd", "hello", "x"} == set(tree(made.path))
    assert 4 == len(held(store.path)["layout/blobs/sha256"])


def test_a_full_disk_can_be_cleaned(small, ground):
    store = small(12 * MIB)
    first = Image(f"{ground}/first", layer(file("x", os.urandom(2 * MIB))))
    rootfs_of(store, first.reference, Steps())
    layout.remove_name(store, first.reference)
    filler = Filling(f"{ground}/small/filler", "")
    filler.step("")
    gc.collect(store, Steps())

    assert ([], []) == (held(store.path)["rootfs"], held(store.path)["layout/blobs/sha256"])
