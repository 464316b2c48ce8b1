from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.images import layout
from aisbx_runtime.sandbox.images.manifest import LAYER, Descriptor
from aisbx_runtime.sandbox.store import Store

NAME = "docker://docker.io/library/x:latest"
OTHER = "docker://docker.io/library/y:latest"


@pytest.fixture
def store(tmp_path):
    return Store.open(f"{tmp_path}/store")


def put(store, content=b"content"):
    with store.workplace("test") as workplace, layout.unnamed(store):
        return layout.put_blob(store, workplace, content, LAYER)


def test_a_blob_is_found_by_its_digest(store):
    blob = put(store)

    with layout.open_blob(store, blob.digest) as file:
        assert b"content" == file.read()
    assert layout.has_blob(store, blob)


def test_a_name_stands_for_its_last_manifest(store):
    first, second = put(store, b"1"), put(store, b"22")
    layout.add_image(store, NAME, first.digest, first.size)
    layout.add_image(store, OTHER, first.digest, first.size, source="sha256:" + "0" * 64)
    layout.add_image(store, NAME, second.digest, second.size)

    assert [NAME, OTHER] == list(layout.names(store))
    assert (second.digest, 2) == (layout.find(store, NAME).digest, layout.find(store, NAME).size)
    assert "sha256:" + "0" * 64 == layout.find(store, OTHER).annotations[layout.SOURCE]


def test_a_removed_name_is_gone_and_the_others_stay(store):
    blob = put(store)
    layout.add_image(store, NAME, blob.digest, blob.size)
    layout.add_image(store, OTHER, blob.digest, blob.size)
    layout.remove_name(store, NAME)

    assert [OTHER] == list(layout.names(store))
    with pytest.raises(NotFoundError):
        layout.find(store, NAME)
    with pytest.raises(NotFoundError):
        layout.remove_name(store, NAME)


@pytest.mark.parametrize(
    ("size", "content"), [(7, b"CONTENT"), (8, b"content"), (6, b"content"), (7, b"")]
)
def test_a_blob_that_is_not_what_it_says_does_not_come_in(store, size, content):
    blob = put(store)
    os.unlink(layout.blob_path(store, blob.digest))
    with store.workplace("test") as workplace, layout.unnamed(store):
        with open(f"{workplace}/x", "wb") as file:
            file.write(content)
        with pytest.raises(InputError):
            layout.take_blob(store, f"{workplace}/x", Descriptor(LAYER, blob.digest, size))

    assert not layout.has_blob(store, blob)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_file_is_no_blob(store, kind):
    blob = put(store)
    path = layout.blob_path(store, blob.digest)
    os.rename(path, f"{path}.other")
    if kind == "link":
        os.symlink(f"{path}.other", path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mkdir(path)

    with pytest.raises(InputError):
        layout.open_blob(store, blob.digest)


def test_a_spoilt_manifest_is_not_read(store):
    blob = put(store, b"{}")
    with open(layout.blob_path(store, blob.digest), "w") as file:
        file.write("[]")

    with pytest.raises(InputError, match="another content"):
        layout.manifest(store, blob.digest)


def test_names_added_at_once_are_all_there(store):
    blob = put(store)
    script = (
        "import sys; from aisbx_runtime.sandbox.store import Store\n"
        "from aisbx_runtime.sandbox.images import layout\n"
        "for number in range(20):\n"
        f"    layout.add_image(Store.open({store.path!r}), sys.argv[1] + str(number), "
        f"{blob.digest!r}, {blob.size})\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, f"oci:/{letter}"]) for letter in "abc"
    ]

    assert [0, 0, 0] == [process.wait() for process in running]
    assert 60 == len(layout.names(store))
