"""What a person names: a sandbox, a snapshot, or both; and whose a file is that umoci could not
give away."""

from __future__ import annotations

import json
import os
import time

import pytest

from aisbx_runtime.sandbox import containers
from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.progress import Silence
from aisbx_runtime.sandbox.runtime import Runtime
from aisbx_runtime.sandbox.snapshots.container import container_of
from aisbx_runtime.sandbox.snapshots.control import Control
from aisbx_runtime.sandbox.snapshots.create import create
from aisbx_runtime.sandbox.snapshots.shelf import Shelf
from aisbx_runtime.sandbox.snapshots.tree_file import Base, Tree
from aisbx_runtime.sandbox.sources import ROOTLESS, changes, owned
from aisbx_runtime.sandbox.store import Store
from aisbx_runtime.sandbox.tree import Entry

BASE = Base("docker://docker.io/library/base:latest", f"sha256:{'1' * 64}", f"{'1' * 64}-v1")
ENTRIES = (Entry(".", "directory", mode=0o755), Entry("a", "directory", mode=0o700))


@pytest.fixture
def store(tmp_path):
    return Store.open(str(tmp_path / "store"))


def put_snapshot(store, name, base=BASE, entries=ENTRIES):
    shelf = Shelf(store)
    with store.shared():
        snapshot_id = shelf.put_tree(Tree(base, entries))
        shelf.put_name(name, snapshot_id)
    return snapshot_id


def put_sandbox(store, name):
    path = store.place("containers", name)
    os.makedirs(f"{path}/upper/a")
    facts = {
        "version": 1, "id": name, "image": {"reference": BASE.reference, "digest": BASE.digest},
        "rootfs": BASE.rootfs, "upper": f"{path}/upper", "mapping": None, "snapshot": None,
        "created": "2020-01-01T00:00:00Z", "keep": True,
    }  # fmt: skip
    with open(f"{path}/aisbx.json", "w") as file:
        json.dump(facts, file)
    root = {"destination": "/", "type": "overlay", "options": []}
    with open(f"{path}/config.json", "w") as file:
        json.dump({"mounts": [root]}, file)
    return path


@pytest.fixture
def runtime(tmp_path):
    """A runtime that knows no container."""
    program = tmp_path / "runtime"
    program.write_text("#!/bin/sh\necho '[]'\n")
    program.chmod(0o755)
    return Runtime(str(program))


def found(store, runtime, argument):
    with changes(store, runtime, argument, Silence()) as made:
        return made


@pytest.mark.parametrize("way", ["name", "id", "short"])
def test_a_snapshot_is_found_by_name_and_id(store, runtime, way):
    snapshot_id = put_snapshot(store, "snap")
    argument = {"name": "snap", "id": snapshot_id, "short": snapshot_id[7:17]}[way]
    made = found(store, runtime, argument)

    assert (made.reference, made.digest, made.snapshot) == (
        BASE.reference, BASE.digest, snapshot_id,
    )  # fmt: skip
    assert made.entries == list(ENTRIES)


@pytest.mark.parametrize("way", ["name", "path"])
def test_a_sandbox_is_found_by_name_and_path(store, runtime, way):
    path = put_sandbox(store, "box")
    made = found(store, runtime, "box" if way == "name" else path)

    assert [".", "a"] == [entry.path for entry in made.entries]
    assert made.digest == BASE.digest
    assert Shelf(store).ids() == []


def test_a_snapshot_that_was_there_before_stays(store, runtime):
    put_sandbox(store, "box")
    with changes(store, runtime, "box", Silence()) as made, store.shared():
        Shelf(store).put_name("kept", made.snapshot)
    found(store, runtime, "box")

    assert Shelf(store).ids() == [made.snapshot]


def test_a_snapshot_that_another_one_took_meanwhile_stays(store, runtime):
    put_sandbox(store, "box")
    with changes(store, runtime, "box", Silence()) as made:
        # The times of files go by the clock's tick.
        time.sleep(0.02)
        container = container_of(containers.named(store, "box"))
        create(store, container, Control(runtime, container), name="", progress=Silence())

    assert Shelf(store).ids() == [made.snapshot]


def test_a_name_of_both_is_refused(store, runtime):
    put_sandbox(store, "both")
    snapshot_id = put_snapshot(store, "both")
    with pytest.raises(InputError, match="a sandbox and a snapshot") as caught:
        found(store, runtime, "both")

    assert snapshot_id in caught.value.hint


@pytest.mark.parametrize("argument", ["nothing", "alpine:latest", "./no/bundle", "docker://a/b"])
def test_what_is_neither_is_said(store, runtime, argument):
    with pytest.raises(NotFoundError, match="neither a sandbox nor a snapshot"):
        found(store, runtime, argument)


def varint(number):
    made = b""
    while number > 127:
        made += bytes([number & 127 | 128])
        number >>= 7
    return made + bytes([number])


def noted(uid, gid):
    """Return what umoci writes: protobuf leaves zeros out."""
    made = b""
    for tag, number in ((8, uid), (16, gid)):
        made += bytes([tag]) + varint(number) if number else b""
    return made


@pytest.mark.parametrize("ids", [(0, 0), (0, 5), (7, 0), (1000, 100), (65534, 2**31)], ids=str)
def test_a_file_belongs_to_whom_umoci_noted(ids):
    entry = Entry("a", "file", uid=3, gid=4, xattrs=(("user.a", b"1"), (ROOTLESS, noted(*ids))))

    assert owned(entry) == Entry("a", "file", uid=ids[0], gid=ids[1], xattrs=(("user.a", b"1"),))


def test_who_is_not_noted_stays():
    entry = Entry("a", "file", uid=3, gid=4, xattrs=((ROOTLESS, noted(2**32 - 1, 9)),))

    assert (owned(entry).uid, owned(entry).gid) == (3, 9)
    assert owned(Entry("a", "file", uid=3)) == Entry("a", "file", uid=3)


@pytest.mark.parametrize("value", [b"\x08", b"\x08\x80", b"\x0a\x01x", b"\x08\x01\x10"])
def test_another_note_is_an_error(value):
    with pytest.raises(InputError, match="noted"):
        owned(Entry("a", "file", xattrs=((ROOTLESS, value),)))


def test_a_rootless_snapshot_has_the_owners_that_umoci_noted(store, runtime):
    base = Base(BASE.reference, BASE.digest, f"{BASE.rootfs}-rootless")
    entries = (ENTRIES[0], Entry("a", "fifo", xattrs=((ROOTLESS, noted(7, 8)),)))
    put_snapshot(store, "mine", base, entries)
    made = found(store, runtime, "mine")

    assert [(0, 0), (7, 8)] == [(entry.uid, entry.gid) for entry in made.entries]
