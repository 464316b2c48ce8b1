"""Images made to harm: each is refused with its reason, or taken with a harmless result.

Whatever becomes of it, what lies around the rootfs is as before: files beside the store, in it,
and beside the half-made rootfs.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.manifest import MANIFEST
from aisbx_runtime.sandbox.images.unpack import unpack
from integration.images import hostile_kinds, hostile_paths, hostile_views
from integration.images.hostile import CASES, SOUND_NAMES
from integration.images.making import Image, directory, file, layer, sound
from integration.images.seen import Steps, tree

NAMES = [case.name for case in CASES]
SOURCES = (hostile_kinds, hostile_paths, hostile_views)


def bring(store, image: Image) -> str:
    """Put an image into the store's layout as if it had been pulled; return its digest."""
    with store.workplace("test") as place, layout.unnamed(store):
        for digest in os.listdir(f"{image.path}/blobs/sha256"):
            with open(f"{image.path}/blobs/sha256/{digest}", "rb") as content:
                layout.put_blob(store, place, content.read(), MANIFEST)
        layout.add_image(store, image.reference, image.digest, int(image.descriptor["size"]))
    return image.digest


@pytest.fixture
def canaries(ground, store):
    """Files that a layer may aim at, on every way up from the rootfs."""
    for path in (ground, store.path, store.place("rootfs"), store.place("work")):
        os.makedirs(f"{path}/etc", exist_ok=True)
        for name in ("canary", "etc/passwd"):
            with open(f"{path}/{name}", "w") as out:
                out.write("alive")
    return f"{ground}".encode()


def around(ground: str) -> dict[str, str]:
    """Return all that is in the test's directory, but what an unpack is for."""
    found = tree(ground).items()
    made = ("store/locks/", "store/rootfs/")
    beside = {"store/rootfs/canary", "store/rootfs/etc/passwd"}
    return {path: text for path, text in found if not path.startswith(made) or path in beside}


def test_there_are_enough_of_them():
    assert len(CASES) == len(set(NAMES)) >= 150
    assert all(source.ACCEPTS == "accepts" for source in SOURCES)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_hostile_layer_harms_nothing(case, store, ground, canaries):
    image = Image(f"{ground}/image", *case.layers(canaries))
    digest = bring(store, image)
    before = around(ground)
    if case.refused:
        with pytest.raises(InputError) as caught:
            unpack(store, digest, Steps())

        assert case.refused in f"{caught.value.what}: {caught.value.why}"
        assert "layer" in caught.value.where
        assert ["canary", "etc"] == sorted(os.listdir(store.place("rootfs")))
    else:
        found = tree(unpack(store, digest, Steps()).path)

        assert case.found == {name: found.get(name) for name in case.found}
        assert set() == found.keys() & set(case.missing)
    assert before == around(ground)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.umoci], ids=[case.name for case in CASES if case.umoci]
)
def test_umoci_alone_takes_it(case, ground):
    """The control: why the rule is held before umoci sees the layer."""
    os.makedirs(f"{ground}/around")
    with open(f"{ground}/around/canary", "w") as out:
        out.write("alive")
    image = Image(f"{ground}/image", *case.layers(f"{ground}/around".encode()))
    done = subprocess.run(
        ["umoci", "raw", "unpack", "--image", f"{image.path}:x", f"{ground}/around/rootfs"],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    alive = os.path.exists(f"{ground}/around/canary")

    assert (case.umoci, alive) == (
        ("accepts", True) if done.returncode == 0 else ("removes", False)
    )


def test_an_image_brings_no_options(store, ground):
    """CVE-2026-40226: what lies in the image under the names of our own files is content."""
    names = ("image.json", "aisbx.json", "config.json", "version", "lock")
    image = Image(f"{ground}/image", sound(b"".join(file(name, b"{}") for name in names)))
    made = unpack(store, bring(store, image), Steps())

    assert image.digest == made.digest
    assert ["image.json", "rootfs"] == sorted(os.listdir(os.path.dirname(made.path)))


def test_many_files_are_too_many(store, ground, monkeypatch):
    monkeypatch.setattr("aisbx_runtime.sandbox.images.view.MOST_FILES", 500)
    image = Image(f"{ground}/image", layer(*[(f"f{number}", b"") for number in range(501)]))
    with pytest.raises(InputError, match="more than 500 files"):
        unpack(store, bring(store, image), Steps())


def test_directories_that_nobody_named_count_as_well(store, ground, monkeypatch):
    monkeypatch.setattr("aisbx_runtime.sandbox.images.view.MOST_FILES", 500)
    image = Image(
        f"{ground}/image", layer(*[(f"d{number}" + "/d" * 40, b"") for number in range(13)])
    )
    with pytest.raises(InputError, match="more than 500 files"):
        unpack(store, bring(store, image), Steps())


def test_files_of_all_layers_count(store, ground, monkeypatch):
    monkeypatch.setattr("aisbx_runtime.sandbox.images.view.MOST_FILES", 500)
    layers = [
        layer(*[directory(f"{number}-{other}") for number in range(200)]) for other in range(3)
    ]
    with pytest.raises(InputError, match="more than 500 files"):
        unpack(store, bring(store, Image(f"{ground}/image", *layers)), Steps())


def test_every_name_of_a_sound_image_is_there(store, ground):
    """The other cases mean something only if this one works."""
    made = unpack(store, bring(store, Image(f"{ground}/image", sound())), Steps())

    assert SOUND_NAMES == set(tree(made.path))
