"""A directory or an archive becomes an image that goes the way of a pulled one."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile

import pytest

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images import compression, layout, platforms
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.import_ import import_archive, import_directory
from integration.images.making import SOUND, file, header, layer, pax, symlink
from integration.images.seen import Steps, held, tree
from tests.sandbox.images.schemas import errors

NAME = "docker://docker.io/library/mine:latest"


@pytest.fixture
def directory(ground):
    path = f"{ground}/rootfs"
    os.makedirs(f"{path}/etc")
    with open(f"{path}/etc/passwd", "w") as out:
        out.write("root:x:0:0::/:/bin/sh\n")
    os.link(f"{path}/etc/passwd", f"{path}/etc/passwd-")
    os.symlink("/etc/passwd", f"{path}/link")
    os.mkdir(f"{path}/tmp")
    os.chmod(f"{path}/tmp", 0o1777)
    os.chown(f"{path}/tmp", 7, 8)
    return path


def archive(ground, content, name="rootfs.tar"):
    path = f"{ground}/{name}"
    with open(path, "wb") as out:
        out.write(content)
    return path


def test_a_directory_becomes_a_rootfs_with_the_same_files(store, directory):
    made = import_directory(store, directory, "mine")

    assert tree(directory) == tree(rootfs_of(store, "mine", Steps()).path)
    assert (NAME, layout.find(store, NAME).digest) == (made.name, made.digest)


def test_its_documents_are_as_the_image_spec_wants_them(store, directory):
    made = import_directory(store, directory, "mine")
    manifest = json.loads(layout.read_blob(store, made.digest))
    config = json.loads(layout.read_blob(store, manifest["config"]["digest"]))

    assert errors("image-manifest", manifest) == []
    assert errors("config", config) == []
    assert config["architecture"] == platforms.of_host().architecture


def test_the_same_directory_gives_the_same_image(store, directory, ground):
    os.rename(import_(store, directory), f"{ground}/elsewhere")
    one = layout.find(store, NAME).digest

    assert one == import_directory(store, f"{ground}/elsewhere", "other").digest


def import_(store, directory):
    import_directory(store, directory, "mine")
    return directory


def test_importing_again_replaces_the_name(store, directory):
    one = import_directory(store, directory, "mine")
    with open(f"{directory}/new", "w") as out:
        out.write("new")
    two = import_directory(store, directory, "mine")

    assert one.digest != two.digest
    assert "new" in tree(rootfs_of(store, "mine", Steps()).path)


COMPRESSIONS = {
    "tar": lambda content: content,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": lambda content: (
        subprocess.run(["zstd", "-qc"], input=content, capture_output=True, check=True).stdout
    ),
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_an_archive_of_any_kind_gives_the_same_image(store, ground, suffix):
    content = layer(*SOUND, symlink("link", "/etc/passwd"))
    made = import_archive(store, archive(ground, COMPRESSIONS[suffix](content)), "mine")
    plain = import_archive(store, archive(ground, content, "plain"), "plain")

    assert made.digest == plain.digest
    found = tree(rootfs_of(store, "mine", Steps()).path)
    assert {"etc", "etc/passwd", "hello", "link"} == set(found)


def test_what_gnu_tar_writes_of_a_directory_is_that_directory(store, ground, directory):
    path = f"{ground}/rootfs.tar"
    subprocess.run(["tar", "-C", directory, "-czf", path, "."], check=True)
    import_archive(store, path, "mine")

    assert tree(directory) == tree(rootfs_of(store, "mine", Steps()).path)


def test_what_python_writes_of_a_directory_is_that_directory(store, ground, directory):
    path = f"{ground}/rootfs.tar"
    with tarfile.open(path, "w") as out:
        out.add(directory, ".")
    import_archive(store, path, "mine")

    assert tree(directory) == tree(rootfs_of(store, "mine", Steps()).path)


def links_out():
    return layer(symlink("out", "/tmp"), file("out/escaped", b"x"))


def goes_up():
    return layer(("../escaped", b"x"))


def goes_up_in_pax():
    return layer(pax({b"path": b"a/../../escaped"}), file("a", b"x"))


def is_overlays_whiteout():
    return layer(header("a", b"3", device=(0, 0)))


def is_cut():
    return layer(*SOUND)[:1500]


def is_noise():
    return b"this is no archive" * 100


def is_twice():
    return layer(*SOUND) + layer(*SOUND)


@pytest.mark.parametrize("compress", ["tar", "gz", "xz", "zst"])
@pytest.mark.parametrize(
    "make",
    [links_out, goes_up, goes_up_in_pax, is_overlays_whiteout, is_cut, is_noise, is_twice],
)
def test_a_hostile_archive_becomes_no_image(store, ground, make, compress):
    path = archive(ground, COMPRESSIONS[compress](make()))
    with pytest.raises(InputError):
        import_archive(store, path, "mine")

    assert layout.names(store) == {}
    found = held(store.path)
    assert [found[part] for part in ("refs", "rootfs", "work")] == [[], [], []]
    assert not os.path.exists(f"{ground}/escaped")
    assert not os.path.exists("/tmp/escaped")


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2", "zst"])
@pytest.mark.parametrize("spoil", ["cut", "changed", "longer"])
def test_a_damaged_archive_becomes_no_image(store, ground, suffix, spoil):
    content = COMPRESSIONS[suffix](layer(*SOUND, ("noise", os.urandom(5000))))
    middle = len(content) // 2
    spoilt = {
        "cut": content[:middle],
        "changed": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        "longer": content + b"more",
    }[spoil]
    with pytest.raises(InputError):
        import_archive(store, archive(ground, spoilt), "mine")

    assert layout.names(store) == {}


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2", "zst"])
def test_a_bomb_is_refused_before_it_fills_the_disk(store, ground, suffix, monkeypatch):
    # As it is, 1 GiB has to come out first.
    monkeypatch.setattr(compression, "RATIO_FREE_BYTES", 1 << 20)
    content = COMPRESSIONS[suffix](layer(("zeros", bytes(16 << 20))))
    with pytest.raises(InputError, match="decompression bomb"):
        import_archive(store, archive(ground, content), "mine")

    assert layout.names(store) == {}
    assert held(store.path)["work"] == []


def test_an_xz_that_wants_gigabytes_of_memory_is_refused(store, ground):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    out = io.BytesIO(lzma.compress(layer(*SOUND), filters=filters))
    with pytest.raises(InputError, match="cannot read the xz archive"):
        import_archive(store, archive(ground, out.getvalue()), "mine")


def test_a_fifo_is_no_archive(store, ground):
    os.mkfifo(f"{ground}/fifo")
    with pytest.raises(InputError, match="directory or an archive"):
        import_archive(store, f"{ground}/fifo", "mine")


def test_a_mount_in_the_directory_is_refused(store, directory):
    from integration import host

    host.mount("tmpfs", f"{directory}/tmp", "tmpfs")
    try:
        with pytest.raises(InputError, match="mounted"):
            import_directory(store, directory, "mine")
    finally:
        host.umount(f"{directory}/tmp")


def test_progress_is_told(store, ground, directory):
    steps = Steps()
    import_directory(store, directory, "mine", progress=steps)
    import_archive(store, archive(ground, layer(*SOUND)), "mine", progress=steps)

    assert steps.steps[:2] == [f"reading {directory}", f"packing {directory}"]
    assert f"reading {ground}/rootfs.tar" in steps.steps
    assert any(step.startswith("unpacking") for step in steps.steps)
