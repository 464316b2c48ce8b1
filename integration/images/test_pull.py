"""What a pull brings, from every place that the issue names, and what it leaves when it fails."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from aisbx_runtime.sandbox.errors import HostError, InputError, NotFoundError, SandboxError
from aisbx_runtime.sandbox.images import layout, platforms
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.pull import pull
from aisbx_runtime.sandbox.images.unpack import unpack
from integration.images.making import CONFIG, Image, directory, file, layer, sound, symlink
from integration.images.seen import Steps, held, tree


def skopeo(*words: str) -> None:
    subprocess.run(["skopeo", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def image(ground):
    return Image(f"{ground}/image", sound(), layer(("added", b"by the second layer\n")))


def test_an_image_becomes_a_rootfs(store, image):
    made = rootfs_of(store, image.reference, Steps())

    found = tree(made.path)
    assert {"etc", "etc/passwd", "hello", "added"} == set(found)
    assert "100644 0:0 b'hello\\n' 1" == found["hello"]
    assert image.digest == made.digest
    assert ("PATH=/bin",) == made.config.env


def test_the_name_leads_to_the_rootfs(store, image):
    made = rootfs_of(store, image.reference, Steps())
    (name,) = os.listdir(store.place("refs"))

    assert os.path.samefile(store.place("refs", name, "rootfs"), made.path)
    assert [image.reference] == list(layout.names(store))


@pytest.mark.parametrize("compress", ["gzip", "zstd", ""])
def test_layers_are_unpacked_however_they_are_compressed(store, ground, compress):
    image = Image(f"{ground}/image", sound(), layer(("x", b"1")), compress=compress)
    made = rootfs_of(store, image.reference, Steps())

    assert {"etc", "etc/passwd", "hello", "x"} == set(tree(made.path))


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive", "dir"])
def test_an_image_comes_from_every_kind_of_place(store, ground, image, transport):
    tag = ":x/y:z" if transport == "docker-archive" else ":z" if transport != "dir" else ""
    place = f"{transport}:{ground}/copy{tag}"
    skopeo("copy", image.reference, place)
    made = rootfs_of(store, place, Steps())

    assert {"etc", "etc/passwd", "hello", "added"} == set(tree(made.path))


def test_the_storage_of_podman_is_a_place(store, ground, image):
    place = f"containers-storage:[vfs@{ground}/graph+{ground}/run]localhost/x:1"
    skopeo("copy", image.reference, place)
    made = rootfs_of(store, place, Steps())

    assert {"etc", "etc/passwd", "hello", "added"} == set(tree(made.path))


def test_what_is_there_is_not_asked_for_again(store, image):
    rootfs_of(store, image.reference, Steps())
    steps = Steps()
    rootfs_of(store, image.reference, steps)

    assert [] == steps.steps


def test_what_has_not_changed_is_not_copied_again(store, image):
    first = rootfs_of(store, image.reference, Steps())
    steps = Steps()
    second = rootfs_of(store, image.reference, steps, refresh=True)

    assert [f"looking for {image.reference}"] == steps.steps
    assert first.key == second.key


def test_a_name_follows_what_it_means(store, ground, image):
    first = rootfs_of(store, image.reference, Steps())
    other = Image(image.path, sound(file("new", b"2")))
    second = rootfs_of(store, image.reference, Steps(), refresh=True)

    assert (image.digest, other.digest) == (first.digest, second.digest)
    assert os.path.samefile(
        store.place("refs", os.listdir(store.place("refs"))[0], "rootfs"), second.path
    )


def test_a_pull_takes_the_old_short_way_from_the_name(store, image):
    rootfs_of(store, image.reference, Steps())
    Image(image.path, sound(file("new", b"2")))
    pull(store, image.reference, Steps())

    assert [] == os.listdir(store.place("refs"))


def test_layers_that_are_there_are_not_copied(store, ground):
    big = layer(file("big", os.urandom(3 << 20)))
    Image(f"{ground}/first", big)
    pull(store, f"oci:{ground}/first:x", Steps())
    second = Image(f"{ground}/second", big, layer(("x", b"1")))
    os.unlink(second.blob(second.manifest["layers"][0]["digest"]))
    pull(store, second.reference, Steps())

    assert layout.is_complete(store, second.digest)


def test_a_damaged_layer_of_the_store_is_replaced(store, image):
    pull(store, image.reference, Steps())
    damaged = image.manifest["layers"][0]["digest"]
    path = layout.blob_path(store, damaged)
    size = os.path.getsize(path)
    with open(path, "wb") as out:
        out.write(bytes(size))
    # Another manifest with the same layer: the same one would not be copied.
    Image(image.path, sound(), layer(("added", b"anew\n")))
    made = rootfs_of(store, image.reference, Steps(), refresh=True)

    assert "hello" in tree(made.path)


def test_platforms_of_an_index(store, ground):
    there = {}
    path = f"{ground}/image"
    for architecture in ("amd64", "arm64", "s390x"):
        image = Image(
            path,
            sound(file(architecture)),
            change_config=lambda config, name=architecture: config.update(architecture=name),
        )
        there[architecture] = {
            **image.descriptor,
            "platform": {"os": "linux", "architecture": architecture},
        }
    index = image.put(
        json.dumps({"schemaVersion": 2, "manifests": list(there.values())}).encode(),
        "application/vnd.oci.image.index.v1+json",
    )
    image.index([{**index, "annotations": {"org.opencontainers.image.ref.name": "x"}}])
    made = rootfs_of(store, image.reference, Steps(), platform=platforms.parse("linux/s390x"))
    own = rootfs_of(store, image.reference, Steps(), platform=platforms.of_host())

    assert "s390x" in tree(made.path)
    assert platforms.of_host().architecture in tree(own.path)
    with pytest.raises(SandboxError):
        pull(store, image.reference, Steps(), platform=platforms.parse("linux/mips"))


def test_an_image_for_another_machine_is_refused_unless_asked_for(store, ground):
    image = Image(
        f"{ground}/image", sound(), change_config=lambda config: config.update(architecture="mips")
    )
    with pytest.raises(InputError, match="is for linux/mips"):
        pull(store, image.reference, Steps())

    assert {} == layout.names(store)
    pull(store, image.reference, Steps(), platform=platforms.parse("linux/mips"))


def test_modes_owners_and_links_are_the_images(store, ground):
    image = Image(
        f"{ground}/image",
        layer(
            directory("d", mode=0o1777, uid=5, gid=6),
            file("d/s", b"x", mode=0o4755, uid=1, gid=2),
            symlink("l", "/etc/passwd"),
        ),
    )
    found = tree(rootfs_of(store, image.reference, Steps()).path)

    assert "41777 5:6" == found["d"]
    assert "104755 1:2 b'x' 1" == found["d/s"]
    assert "120777 0:0 -> /etc/passwd" == found["l"]


def test_a_missing_image_leaves_nothing(store, ground):
    before = held(store.path)
    with pytest.raises(SandboxError) as caught:
        rootfs_of(store, f"oci:{ground}/none:x", Steps())

    assert "skopeo" in caught.value.why
    assert before == held(store.path)


def test_an_image_that_was_removed_is_not_found(store):
    with pytest.raises(NotFoundError):
        unpack(store, "sha256:" + "0" * 64, Steps())


def test_something_else_in_a_registry_is_no_image(store, ground):
    image = Image(
        f"{ground}/image",
        sound(),
        change_manifest=lambda found: found["config"].update(
            mediaType="application/vnd.cncf.helm.config.v1+json"
        ),
    )
    with pytest.raises(SandboxError):
        pull(store, image.reference, Steps())

    assert {} == layout.names(store)
    assert CONFIG != image.manifest["config"]["mediaType"]


def test_a_missing_program_is_said_with_the_line_that_helps(store, image, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError) as caught:
        rootfs_of(store, image.reference, Steps())

    assert "skopeo" in caught.value.what
    assert "apt-get install --no-install-recommends skopeo util-linux" in caught.value.hint


def test_progress_has_sizes(store, ground):
    image = Image(f"{ground}/image", layer(file("big", os.urandom(8 << 20))))
    steps = Steps()
    rootfs_of(store, image.reference, steps)

    assert all(done <= total for done, total in steps.sizes if total)
    assert any(step.startswith("unpacking") for step in steps.steps)
    assert max(total for _, total in steps.sizes) >= 8 << 20
