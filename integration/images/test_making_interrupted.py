"""Packing, importing and pushing: killed at any of their calls, or on a full disk."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal

import pytest

from aisbx_runtime.sandbox.errors import HostError
from aisbx_runtime.sandbox.images import gc, layout
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.import_ import import_archive, import_directory
from aisbx_runtime.sandbox.images.pack import base_of, pack
from aisbx_runtime.sandbox.images.push import push
from aisbx_runtime.sandbox.store import Store
from aisbx_runtime.sandbox.tree import Entry
from integration import host
from integration.images import killed
from integration.images.making import SOUND, layer
from integration.images.seen import Steps, held, tree

MIB = 1 << 20
NAME = "docker://docker.io/library/made:latest"


@pytest.fixture
def rootfs(ground):
    """A directory and an archive of the same files."""
    os.makedirs(f"{ground}/rootfs/etc")
    with open(f"{ground}/rootfs/etc/passwd", "w") as out:
        out.write("root:x:0:0::/:/bin/sh\n")
    with open(f"{ground}/rootfs.tar", "wb") as out:
        out.write(layer(*SOUND))
    return f"{ground}/rootfs"


def pack_on(store, base, content=b"content", name="made"):
    entries = [
        Entry(".", "directory", mode=0o755),
        Entry("new", "file", mode=0o644, size=len(content)),
    ]
    return pack(store, base_of(store, base), entries, lambda _: io.BytesIO(content), name)


def whole(store: Store, names: set[str]) -> None:
    """Assert that the store has these images and nothing half-made beside them."""
    gc.collect(store, Steps())
    found = held(store.path)

    assert names == set(layout.names(store))
    assert found["work"] == []
    for blob in found["layout/blobs/sha256"]:
        with open(store.place("layout/blobs/sha256", blob), "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == blob
    for name in names:
        assert layout.is_complete(store, layout.names(store)[name].digest)


def at_every_moment(work, again):
    """Kill work before each of its calls, then call again."""
    status, events = killed.run(work)
    assert status == 0
    for moment in range(1, len(events) + 1):
        again(None)
        status, seen = killed.run(work, moment)
        assert (signal.SIGKILL, moment) == (status, len(seen))
        again(moment)


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_an_import_that_is_killed_before_any_of_its_calls(ground, rootfs, kind):
    path = f"{ground}/store"
    digests = set()

    def work():
        bring = import_directory if kind == "directory" else import_archive
        where = rootfs if kind == "directory" else f"{rootfs}.tar"
        digests.add(bring(Store.open(path), where, "made").digest)

    def again(moment):
        if moment is None:
            shutil.rmtree(path)
            return
        work()
        store = Store.open(path)
        whole(store, {NAME})
        assert "etc/passwd" in tree(rootfs_of(store, "made", Steps()).path)
        assert len(held(path)["layout/blobs/sha256"]) == 3

    at_every_moment(work, again)
    assert len(digests) == 1


def test_a_pack_that_is_killed_before_any_of_its_calls(store, rootfs):
    base = import_directory(store, rootfs, "base")
    digests = set()

    def work():
        digests.add(pack_on(store, base.digest).digest)

    def again(moment):
        if moment is None:
            if NAME in layout.names(store):
                layout.remove_name(store, NAME)
            gc.collect(store, Steps())
            return
        work()
        whole(store, {base.name, NAME})
        assert "new" in tree(rootfs_of(store, "made", Steps()).path)

    at_every_moment(work, again)
    assert len(digests) == 1


def test_a_push_that_is_killed_before_any_of_its_calls(ground, store, rootfs):
    base = import_directory(store, rootfs, "base")
    target = f"oci:{ground}/target:tag"

    def work():
        push(store, "base", target)

    def again(moment):
        shutil.rmtree(f"{ground}/target", ignore_errors=True)
        if moment is not None:
            work()
            whole(store, {base.name})
            other = Store.open(f"{ground}/other")
            assert rootfs_of(other, target, Steps()).digest == base.digest

    at_every_moment(work, again)


@pytest.fixture
def small(ground):
    if host.lacks_rights():
        pytest.skip("cannot mount")
    path = f"{ground}/small"
    os.mkdir(path)
    host.mount("tmpfs", path, "tmpfs", data=f"size={4 * MIB}")
    yield Store.open(f"{path}/store")
    host.umount(path)


def test_a_full_disk_when_packing_changes_nothing(small, rootfs):
    base = import_directory(small, rootfs, "base")
    before = (held(small.path), layout.names(small))
    with pytest.raises(HostError, match="the disk is full; nothing was changed") as caught:
        pack_on(small, base.digest, os.urandom(6 * MIB))

    assert caught.value.why == "ENOSPC"
    assert before == (held(small.path), layout.names(small))
    assert pack_on(small, base.digest).name == NAME


def test_a_full_disk_when_importing_changes_no_name(small, rootfs):
    with open(f"{rootfs}/big", "wb") as out:
        out.write(os.urandom(6 * MIB))
    with pytest.raises(HostError):
        import_directory(small, rootfs, "made")
    found = held(small.path)

    assert layout.names(small) == {}
    assert (found["work"], found["rootfs"], found["refs"]) == ([], [], [])


def test_a_file_that_is_not_as_it_was_walked_packs_nothing(store, rootfs):
    base = import_directory(store, rootfs, "base")
    before = (held(store.path), layout.names(store))
    entries = [Entry(".", "directory"), Entry("new", "file", size=9)]
    with pytest.raises(HostError, match="changed while it was packed"):
        pack(store, base_of(store, base.digest), entries, lambda _: io.BytesIO(b"short"), "made")

    assert before == (held(store.path), layout.names(store))


def test_gc_beside_a_pack_takes_nothing_of_it(store, rootfs, monkeypatch):
    base = import_directory(store, rootfs, "base")
    put_blob = layout.put_blob

    def put_after_gc(*words):
        gc.collect(store, Steps())
        return put_blob(*words)

    monkeypatch.setattr(layout, "put_blob", put_after_gc)

    assert layout.is_complete(store, pack_on(store, base.digest).digest)


def test_gc_beside_an_import_takes_nothing_of_it(store, rootfs):
    class Collecting(Steps):
        def step(self, what: str, total_bytes: int = 0) -> None:
            super().step(what, total_bytes)
            gc.collect(store, Steps())

    import_directory(store, rootfs, "made", progress=Collecting())

    assert "etc/passwd" in tree(rootfs_of(store, "made", Steps()).path)
