"""A packed image is its base and one layer, as image-spec wants it, and the same every time."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import signal
import sys
from dataclasses import replace

import pytest

from aisbx_runtime.sandbox.errors import HostError, InputError, NotFoundError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.manifest import CONFIG, LAYER, MOST_LAYERS
from aisbx_runtime.sandbox.images.pack import base_of, manifest_of, pack
from aisbx_runtime.sandbox.store import Store
from aisbx_runtime.sandbox.tree import Entry
from tests.sandbox.images.entries import opener
from tests.sandbox.images.schemas import errors

NAME = "docker://docker.io/library/base:latest"
ENTRIES = [
    Entry(path=".", kind="directory", mode=0o755, mtime_ns=10**18),
    Entry(path="etc", kind="directory", mode=0o755, mtime_ns=10**18 + 5, opaque=True),
    Entry(path="etc/a", kind="file", mode=0o600, size=4, mtime_ns=10**18 + 1_500_000_000),
    Entry(path="gone", kind="whiteout"),
]
CONTENTS = {"etc/a": b"text"}
SNAPSHOT = f"sha256:{'5' * 64}"


@pytest.fixture
def store(tmp_path):
    return Store.open(str(tmp_path / "store"))


def base_config(**more):
    return {
        "created": "2020-01-02T03:04:05Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": {"dev.aisbx.x": "y"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'1' * 64}"]},
        "history": [
            {"created_by": "one"},
            {"created_by": "two", "empty_layer": True},
        ],
        **more,
    }


def make_base(store, config=None, annotations=None):
    """Put an image of one layer that nobody unpacks into the layout; return its digest."""
    with layout.unnamed(store), store.workplace("test") as place:
        one = layout.put_blob(store, place, b"a layer", f"{LAYER}+gzip")
        said = layout.put_blob(store, place, encoded(config or base_config()), CONFIG)
        manifest = encoded(manifest_of(said, [one], annotations or {}))
        made = layout.put_blob(store, place, manifest, "")
        layout.add_image(store, NAME, made.digest, made.size)
    return made.digest


def encoded(document):
    return json.dumps(document).encode()


def packed(store, digest, entries=ENTRIES, *, name=NAME, reference="made", snapshot=SNAPSHOT):
    base = base_of(store, digest, name)
    return pack(store, base, entries, opener(CONTENTS), reference, snapshot=snapshot)


def read(store, digest):
    return json.loads(layout.read_blob(store, digest))


@pytest.fixture
def image(store):
    """Return (manifest, config) of an image that was packed, as data."""
    made = packed(store, make_base(store))
    manifest = read(store, made.digest)
    return manifest, read(store, manifest["config"]["digest"])


def test_the_documents_are_as_the_image_spec_wants_them(store, image):
    with open(store.place("layout/index.json"), encoding="utf-8") as file:
        index = json.load(file)
    with open(store.place("layout/oci-layout"), encoding="utf-8") as file:
        assert errors("image-layout", json.load(file)) == []

    assert errors("image-manifest", image[0]) == []
    assert errors("config", image[1]) == []
    assert errors("image-index", index) == []


def test_the_layers_are_those_of_the_base_and_one_more(store, image):
    manifest, config = image
    base = layout.manifest(store, layout.find(store, NAME).digest)
    one, made = manifest["layers"]

    assert one["digest"] == base.layers[0].digest
    assert made["mediaType"] == f"{LAYER}+gzip"
    assert os.path.getsize(layout.blob_path(store, made["digest"])) == made["size"]
    assert len(config["rootfs"]["diff_ids"]) == 2
    assert config["rootfs"]["diff_ids"][0] == f"sha256:{'1' * 64}"


def test_the_config_is_the_base_s_with_another_time_and_history(image):
    expected = base_config()
    expected["created"] = "2001-09-09T01:46:41.5Z"
    expected["rootfs"]["diff_ids"].append(image[1]["rootfs"]["diff_ids"][1])
    expected["history"].append(
        {"created": "2001-09-09T01:46:41.5Z", "created_by": "aisbx image pack"}
    )

    assert expected == image[1]


def test_the_annotations_name_base_and_snapshot(store, image):
    assert image[0]["annotations"] == {
        "org.opencontainers.image.base.digest": layout.find(store, NAME).digest,
        "org.opencontainers.image.base.name": "docker.io/library/base:latest",
        "dev.aisbx.snapshot": SNAPSHOT,
    }


def test_no_annotation_of_the_base_is_taken_over(store):
    digest = make_base(store, annotations={"dev.aisbx.snapshot": "sha256:0", "title": "base"})
    made = packed(store, digest, snapshot="")

    assert set(read(store, made.digest)["annotations"]) == {
        "org.opencontainers.image.base.digest",
        "org.opencontainers.image.base.name",
    }


def test_a_base_s_path_on_this_host_is_told_nobody(store):
    made = packed(store, make_base(store), name="oci:/home/me/layout:base")

    assert set(read(store, made.digest)["annotations"]) == {
        "org.opencontainers.image.base.digest",
        "dev.aisbx.snapshot",
    }


def test_the_name_stands_for_the_image(store):
    made = packed(store, make_base(store), reference="made:1")

    assert made.name == "docker://docker.io/library/made:1"
    assert layout.find(store, made.name).digest == made.digest
    assert layout.is_complete(store, made.digest)


def test_another_time_and_place_give_the_same_digest(store, tmp_path):
    other = Store.open(str(tmp_path / "a" / "other store"))
    digests = [make_base(store), make_base(other)]
    one = packed(store, digests[0])
    two = packed(other, digests[1], list(reversed(ENTRIES)), reference="another-name")

    assert digests[0] == digests[1]
    assert one.digest == two.digest


def test_another_content_gives_another_digest(store):
    digest = make_base(store)
    other = [*ENTRIES[:-1], Entry(path="gone", kind="directory", mode=0o755)]

    assert packed(store, digest).digest != packed(store, digest, other).digest


def test_packing_on_a_packed_image_adds_a_third_layer(store):
    first = packed(store, make_base(store))
    second = packed(store, first.digest, reference="again")
    config = read(store, read(store, second.digest)["config"]["digest"])

    assert len(read(store, second.digest)["layers"]) == 3
    assert [entry["created_by"] for entry in config["history"]] == [
        "one", "two", "aisbx image pack", "aisbx image pack",
    ]  # fmt: skip


@pytest.mark.parametrize("history", [None, [], [{"empty_layer": True}]], ids=str)
def test_a_history_with_gaps_gets_an_entry_for_each_layer(store, history):
    digest = make_base(store, base_config(history=history))
    config = read(store, read(store, packed(store, digest).digest)["config"]["digest"])
    filled = [entry for entry in config["history"] if not entry.get("empty_layer")]

    assert errors("config", config) == []
    assert len(filled) == len(config["rootfs"]["diff_ids"])


@pytest.mark.parametrize(
    ("mtime_ns", "created"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (10**24, "9999-12-31T23:59:59Z"),
    ],
)
def test_created_is_the_newest_time_that_can_be_said(store, mtime_ns, created):
    root = Entry(path=".", kind="directory", mode=0o755, mtime_ns=mtime_ns)
    made = packed(store, make_base(store), [root])
    config = read(store, read(store, made.digest)["config"]["digest"])

    assert created == config["created"]
    assert errors("config", config) == []


def test_nothing_changed_keeps_the_time_of_the_base(store):
    made = packed(store, make_base(store), [])
    config = read(store, read(store, made.digest)["config"]["digest"])

    assert config["created"] == "2020-01-02T03:04:05Z"


def blobs(store):
    return sorted(os.listdir(store.place("layout/blobs/sha256")))


def test_a_failure_changes_nothing(store):
    digest = make_base(store)
    before = (blobs(store), layout.names(store))
    with pytest.raises(InputError):
        packed(store, digest, [*ENTRIES, Entry(path=".wh.x", kind="file")])
    longer = replace(ENTRIES[2], size=9)
    with pytest.raises(HostError):
        packed(store, digest, [*ENTRIES[:2], longer])

    assert before == (blobs(store), layout.names(store))
    assert os.listdir(store.place("work")) == []


def test_there_are_no_more_layers_than_can_be_unpacked(store):
    digest = make_base(store)
    base = base_of(store, digest)
    most = replace(base.manifest, layers=base.manifest.layers * MOST_LAYERS)
    with pytest.raises(InputError, match="more than") as caught:
        pack(store, replace(base, manifest=most), ENTRIES, opener(CONTENTS), "made")

    assert "aisbx export" in caught.value.hint


def test_a_base_without_its_layers_is_an_error(store):
    digest = make_base(store)
    os.unlink(layout.blob_path(store, layout.manifest(store, digest).layers[0].digest))

    with pytest.raises(NotFoundError, match="not there any more") as caught:
        packed(store, digest)

    assert caught.value.hint == f"aisbx image pull {NAME}"


DEEDS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}


def struck(store, digest, number):
    """Pack in a child that is killed before its `number`th deed; tell whether it was."""
    child = os.fork()
    if child == 0:
        deeds = itertools.count()

        def strike(event, arguments):
            if event in DEEDS and next(deeds) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(strike)
        packed(store, digest)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}

    return bool(status)


def test_a_kill_at_any_deed_leaves_a_store_where_the_same_succeeds(store):
    digest = make_base(store)
    found = set()
    for number in itertools.count():
        if not struck(store, digest, number):
            break
        for blob in blobs(store):
            with open(store.place("layout/blobs/sha256", blob), "rb") as file:
                assert hashlib.sha256(file.read()).hexdigest() == blob
        again = packed(store, digest)
        found.add(again.digest)
        assert layout.is_complete(store, again.digest)
        layout.remove_name(store, again.name)
        store.sweep()
        assert os.listdir(store.place("work")) == []
        for blob in (again.layer.digest, again.digest):
            os.unlink(layout.blob_path(store, blob))

    assert len(found) == 1
    assert number > 20


def test_a_layer_that_is_there_already_is_made_again(store):
    digest = make_base(store)
    one = packed(store, digest)
    before = blobs(store)

    assert packed(store, digest, reference="two").digest == one.digest
    assert blobs(store) == before


def test_progress_is_told_in_bytes(store):
    told = []

    class Told:
        def step(self, what, total_bytes=0):
            told.append((what, total_bytes))

        def advance(self, done_bytes):
            told.append(done_bytes)

    base = base_of(store, make_base(store))
    pack(store, base, ENTRIES, lambda _: io.BytesIO(b"text"), "made", progress=Told())

    assert told[0] == ("packing what changed", 4)
    assert told[1:]
