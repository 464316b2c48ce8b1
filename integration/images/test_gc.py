"""gc takes what nothing refers to, and nothing else, whatever else goes on."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images import gc, layout, look
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.pull import pull
from integration.images.making import Image, layer, sound
from integration.images.seen import Steps, held, tree


@pytest.fixture
def image(ground):
    return Image(f"{ground}/image", sound(), layer(("x", b"1")))


@pytest.fixture
def made(store, image):
    return rootfs_of(store, image.reference, Steps())


def bundle(path, rootfs):
    os.mkdir(path)
    with open(f"{path}/aisbx.json", "w") as out:
        json.dump({"rootfs": rootfs.key, "image": {"digest": rootfs.digest}}, out)


def pin(store, path):
    name = hashlib.sha256(path.encode()).hexdigest()
    with open(store.place("pins", name), "w") as out:
        out.write(path)
    return name


def test_what_has_a_name_stays(store, made):
    before = held(store.path)
    found = gc.collect(store, Steps())

    assert before == held(store.path)
    assert ((), (), 0) == (found.rootfs, found.blobs, found.freed_bytes)


def test_what_has_none_goes(store, image, made):
    look.forget(store, image.reference)
    found = gc.collect(store, Steps())

    assert {"layout/blobs/sha256": [], "refs": [], "rootfs": [], "work": []} == held(store.path)
    assert ((made.key,), 4) == (found.rootfs, len(found.blobs))
    assert found.freed_bytes > made.size_bytes


def test_what_two_images_share_stays_for_the_other(store, ground, image, made):
    other = Image(f"{ground}/other", sound())
    kept = rootfs_of(store, other.reference, Steps())
    look.forget(store, image.reference)
    gc.collect(store, Steps())

    assert layout.is_complete(store, other.digest)
    assert "hello" in tree(kept.path)
    assert not os.path.exists(made.path)


def test_an_image_pulled_but_not_unpacked_stays(store, image):
    pull(store, image.reference, Steps())
    gc.collect(store, Steps())

    assert layout.is_complete(store, image.digest)


@pytest.mark.parametrize("where", ["containers", "pinned"])
def test_what_a_bundle_uses_stays_with_its_layers(store, ground, image, made, where):
    path = store.place("containers/one") if where == "containers" else f"{ground}/bundle"
    bundle(path, made)
    if where == "pinned":
        pin(store, path)
    users = look.forget(store, image.reference)
    gc.collect(store, Steps())

    assert ["container one" if where == "containers" else f"bundle {path}"] == users
    assert "hello" in tree(made.path)
    assert layout.is_complete(store, image.digest)


def test_a_pin_without_its_bundle_is_void(store, ground, image, made):
    bundle(f"{ground}/bundle", made)
    pin(store, f"{ground}/bundle")
    os.unlink(f"{ground}/bundle/aisbx.json")
    look.forget(store, image.reference)
    found = gc.collect(store, Steps())

    assert (1, (made.key,)) == (found.pins, found.rootfs)
    assert [] == os.listdir(store.place("pins"))


def test_what_a_holder_names_stays(store, image, made):
    look.forget(store, image.reference)

    def holder(store):
        uses = gc.Uses()
        uses.add("snapshot s", key=made.key)
        return uses

    found = gc.collect(store, Steps(), [holder])

    assert ((), ()) == (found.rootfs, found.blobs)


@pytest.mark.parametrize("text", ["{", "{}", '{"rootfs": 1}', "[]"])
def test_facts_that_cannot_be_read_stop_it(store, image, made, text):
    bundle(store.place("containers/one"), made)
    with open(store.place("containers/one/aisbx.json"), "w") as out:
        out.write(text)
    look_before = held(store.path)
    layout.remove_name(store, image.reference)
    with pytest.raises(InputError):
        gc.collect(store, Steps())

    assert look_before["rootfs"] == held(store.path)["rootfs"]
    assert look_before["layout/blobs/sha256"] == held(store.path)["layout/blobs/sha256"]


def test_blobs_are_left_alone_while_somebody_makes_an_image(store, image, made):
    look.forget(store, image.reference)
    with layout.unnamed(store):
        found = gc.collect(store, Steps())

    assert (True, (made.key,), ()) == (found.busy, found.rootfs, found.blobs)
    assert 4 == len(gc.collect(store, Steps()).blobs)


def test_a_rootfs_of_another_converter_goes(store, image, made):
    other = made.key.replace("-v", "-v9")
    os.rename(store.place("rootfs", made.key), store.place("rootfs", other))
    found = gc.collect(store, Steps())

    assert (other,) == found.rootfs
    assert [] == os.listdir(store.place("refs"))


def test_what_a_killed_command_left_goes(store):
    os.makedirs(store.place("work/pull.0123/image"))

    assert ("pull.0123",) == gc.collect(store, Steps()).workplaces
