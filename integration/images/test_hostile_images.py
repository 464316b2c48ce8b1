"""Images whose documents or compressions lie: manifests, configs, digests, bombs, labels."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import subprocess
import threading

import pytest

from aisbx_runtime.sandbox.errors import HostError, InputError, SandboxError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.unpack import unpack
from integration.images.making import (
    LAYER,
    Image,
    compressed,
    digest_of,
    file,
    header,
    layer,
    sound,
    text_of,
)
from integration.images.seen import Steps, held, tree
from integration.images.test_hostile import bring

EMPTY = {"layout/blobs/sha256": [], "refs": [], "rootfs": [], "work": []}
MEMBER = 16 << 20


def zeros(how: str, times: int) -> bytes:
    """Return a compressed archive of one file of zeros: MEMBER bytes, so many times."""
    block = compressed(bytes(MEMBER), how)
    head = compressed(header("z", size=MEMBER * times), how)
    return head + block * times


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_bomb_is_found_before_it_bursts(store, ground, how, monkeypatch):
    # Compressing more of it would only take longer.
    monkeypatch.setattr("aisbx_runtime.sandbox.images.compression.RATIO_FREE_BYTES", MEMBER)
    image = Image(f"{ground}/image", b"", compress=how, stored=[zeros(how, 4)])
    with pytest.raises(InputError, match="decompression bomb"):
        rootfs_of(store, image.reference, Steps())

    assert [] == held(store.path)["rootfs"]
    assert [] == held(store.path)["work"]


def test_gzip_in_members_is_one_stream(store, ground):
    archive = sound()
    stored = b"".join(gzip.compress(archive[at : at + 700]) for at in range(0, len(archive), 700))
    made = rootfs_of(store, Image(f"{ground}/image", archive, stored=[stored]).reference, Steps())

    assert "hello" in tree(made.path)


@pytest.mark.parametrize(
    ("how", "spoil", "why"),
    [
        ("gzip", lambda content: content + b"rest", "no gzip"),
        ("gzip", lambda content: content + bytes(8), "no gzip"),
        ("gzip", lambda content: content[:-4], "middle of its gzip"),
        ("gzip", lambda content: content[:30], "middle of its gzip"),
        ("gzip", lambda content: content[:-6] + b"wrong!", "no gzip"),
        ("gzip", gzip.decompress, "no gzip"),
        ("gzip", lambda content: compressed(gzip.decompress(content), "zstd"), "no gzip"),
        ("gzip", lambda _: b"", "another content"),
        ("zstd", lambda content: content[:-4], "no zstd"),
        ("zstd", lambda content: content + b"rest", "no zstd"),
        ("zstd", lambda _: gzip.compress(b"x"), "no zstd|neither POSIX|middle of a header"),
        ("", gzip.compress, "middle of a header|wrong checksum"),
    ],
)  # fmt: skip
def test_a_layer_is_compressed_as_it_says_and_whole(store, ground, how, spoil, why):
    archive = sound()
    stored = [spoil(compressed(archive, how))]
    image = Image(f"{ground}/image", archive, compress=how, stored=stored)
    with pytest.raises(InputError) as caught:
        unpack(store, bring(store, image), Steps())

    assert any(word in str(caught.value) for word in why.split("|"))
    assert [] == held(store.path)["rootfs"]


def test_a_layer_with_another_content_than_the_config_says(store, ground):
    image = Image(f"{ground}/image", sound(), stored=[compressed(sound(file("x", b"1")), "gzip")])
    with pytest.raises(InputError, match="another content than the config says"):
        unpack(store, bring(store, image), Steps())


@pytest.mark.parametrize("change", [lambda ids: ids.pop(), lambda ids: ids.append(ids[0])])
def test_as_many_layers_as_the_config_says(store, ground, change):
    image = Image(
        f"{ground}/image",
        sound(),
        change_config=lambda config: change(config["rootfs"]["diff_ids"]),
    )
    with pytest.raises(InputError, match="do not belong together"):
        unpack(store, bring(store, image), Steps())


def damage(image: Image, which: str) -> None:
    descriptor = {
        "manifest": image.descriptor,
        "config": image.manifest["config"],
        "layer": image.manifest["layers"][0],
    }[which]
    path = image.blob(str(descriptor["digest"]))
    with open(path, "rb") as source:
        content = source.read()
    with open(path, "wb") as out:
        # Still JSON, still of the same size.
        changed = content.replace(b"schemaVersion", b"schemaversion").replace(b"PATH", b"path")
        out.write(changed if changed != content else content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_a_blob_with_another_content_is_not_pulled(store, ground, which):
    image = Image(f"{ground}/image", sound())
    damage(image, which)
    with pytest.raises(SandboxError):
        rootfs_of(store, image.reference, Steps())

    assert {**EMPTY} == held(store.path)
    assert {} == layout.names(store)


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_a_blob_that_was_changed_in_the_store_is_not_unpacked(store, ground, which):
    image = Image(f"{ground}/image", sound())
    digest = bring(store, image)
    image.path = store.place("layout")
    damage(image, which)
    with pytest.raises(InputError):
        unpack(store, digest, Steps())

    assert [] == held(store.path)["rootfs"]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(schemaVersion=1),
        lambda found: found.update(mediaType="application/vnd.oci.image.index.v1+json"),
        lambda found: found["layers"][0].update(digest="sha256:../../../../canary"),
        lambda found: found["layers"][0].update(digest="sha512:" + "0" * 128),
        lambda found: found["layers"][0].update(size=-1),
        lambda found: found["layers"][0].update(size=found["layers"][0]["size"] + 1),
        lambda found: found["layers"][0].update(mediaType=f"{LAYER}+gzip+encrypted"),
        lambda found: found["layers"][0].update(mediaType="application/x-something"),
        lambda found: found.update(layers=found["layers"] * 600),
        lambda found: found.update(config=found["layers"][0]),
        lambda found: found["config"].update(size=5 << 20),
        lambda found: found.update(layers={}),
        lambda found: found.pop("config"),
        lambda found: found["layers"].append("x"),
        lambda found: found.update(annotations={"a": 1}),
    ],
)
def test_a_manifest_that_lies_is_not_pulled(store, ground, change):
    image = Image(f"{ground}/image", sound(), change_manifest=change)
    with pytest.raises(SandboxError):
        rootfs_of(store, image.reference, Steps())

    assert {} == layout.names(store)
    assert {**EMPTY} == held(store.path)


def test_a_field_that_is_there_twice_is_not_pulled(store, ground):
    image = Image(f"{ground}/image", sound())
    content = text_of(image.manifest)
    twice = content[:-1] + b', "layers": []}'
    descriptor = image.put(twice, str(image.descriptor["mediaType"]))
    image.index([{**descriptor, "annotations": {"org.opencontainers.image.ref.name": "x"}}])
    with pytest.raises(SandboxError):
        rootfs_of(store, image.reference, Steps())

    assert {} == layout.names(store)


class Trap(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def trap():
    Trap.asked.clear()
    server = http.server.HTTPServer(("127.0.0.1", 0), Trap)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def with_urls(ground: str, trap: str) -> Image:
    def change(found):
        blob = found["layers"][0]
        blob["urls"] = [f"{trap}/inside-of-the-network"]
        blob["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"

    return Image(f"{ground}/image", sound(), change_manifest=change)


def test_an_image_sends_nobody_to_other_places(store, ground, trap):
    image = with_urls(ground, trap)
    with pytest.raises(InputError, match="elsewhere"):
        rootfs_of(store, image.reference, Steps())

    assert [] == Trap.asked


def test_an_image_behind_an_index_sends_nobody_either(store, ground, trap):
    image = with_urls(ground, trap)
    platform = {"os": "linux", "architecture": "amd64"}
    index = text_of({"schemaVersion": 2, "manifests": [{**image.descriptor, "platform": platform}]})
    descriptor = image.put(index, "application/vnd.oci.image.index.v1+json")
    image.index([{**descriptor, "annotations": {"org.opencontainers.image.ref.name": "x"}}])
    with pytest.raises(SandboxError):
        rootfs_of(store, image.reference, Steps())

    assert [] == Trap.asked


def test_labels_and_annotations_are_nothing_but_data(store, ground):
    """CVE-2026-53488: names that look like our own, or like a runtime's."""
    words = {
        "dev.aisbx.source.digest": "sha256:" + "0" * 64,
        "dev.aisbx.snapshot": "../../x",
        "run.oci.hooks.stderr": "/dev/stderr",
        "run.oci.keep_original_groups": "1",
        "org.opencontainers.image.ref.name": "docker://docker.io/library/alpine:latest",
        "io.podman.annotations.privileged": "TRUE",
        "aisbx.profile": "none",
    }
    image = Image(
        f"{ground}/image",
        sound(),
        config={"Labels": words},
        change_manifest=lambda found: found.update(annotations=words),
    )
    made = rootfs_of(store, image.reference, Steps())
    named = layout.names(store)

    assert [image.reference] == list(named)
    assert image.digest == named[image.reference].annotations[layout.SOURCE]
    assert {layout.SOURCE, layout.NAME} == set(named[image.reference].annotations)
    assert words == made.config.labels


def test_an_archive_cannot_take_another_images_name(store, ground):
    """CVE-2026-50195: what an archive says its name is, is not its name here."""
    image = Image(f"{ground}/image", sound())
    path = f"docker-archive:{ground}/archive"
    words = ["skopeo", "copy", image.reference, f"{path}:docker.io/library/alpine:latest"]
    subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    rootfs_of(store, path, Steps())

    assert [path] == list(layout.names(store))


def test_an_image_larger_than_the_disk_is_refused_with_the_figures(store, ground):
    room = os.statvfs(store.path)
    size = room.f_bavail * room.f_frsize + (10 << 20)
    # One gigabyte is read of it at most: it is a bomb as well. Without compression it is not.
    image = Image(f"{ground}/image", layer(header("z", size=size)))
    with pytest.raises((HostError, InputError)):
        rootfs_of(store, image.reference, Steps())

    assert [] == held(store.path)["rootfs"]


def test_the_digest_of_everything_is_sha256_of_its_content(store, ground):
    made = rootfs_of(store, Image(f"{ground}/image", sound()).reference, Steps())
    for name in os.listdir(store.place("layout/blobs/sha256")):
        with open(store.place("layout/blobs/sha256", name), "rb") as content:
            assert name == hashlib.sha256(content.read()).hexdigest()

    assert digest_of(b"") != made.digest
    with open(store.place("rootfs", made.key, "image.json")) as text:
        assert made.digest == json.load(text)["digest"]
