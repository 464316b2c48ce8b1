"""Pulls from a real registry: resolved to a digest, with passwords, with TLS."""

from __future__ import annotations

import base64
import json
import os
import subprocess

import pytest

from aisbx_runtime.sandbox.errors import InputError, SandboxError
from aisbx_runtime.sandbox.images import layout, platforms
from aisbx_runtime.sandbox.images.cache import rootfs_of
from aisbx_runtime.sandbox.images.pull import Access, pull
from integration import host
from integration.images.making import Image, file, layer, sound
from integration.images.registry import PASSWORD, USER, running
from integration.images.seen import Steps, held, tree

PLAIN = Access(tls_verify=False)


@pytest.fixture(scope="module", autouse=True)
def _programs():
    reason = host.lacks_program("docker-registry", "openssl")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def registry(scratch):
    with running(f"{scratch}/registry") as made:
        yield made


@pytest.fixture(scope="module")
def guarded(scratch):
    with running(f"{scratch}/guarded-registry", tls=True, login=True) as made:
        yield made


@pytest.fixture
def image(ground):
    return Image(f"{ground}/image", sound(), layer(("x", b"1")))


def test_an_image_comes_from_a_registry(store, registry, image):
    name = registry.push(image.reference, "plain:1")
    made = rootfs_of(store, name, Steps(), access=PLAIN)

    assert (image.digest, {"etc", "etc/passwd", "hello", "x"}) == (
        made.digest,
        set(tree(made.path)),
    )
    assert image.digest == layout.find(store, name).annotations[layout.SOURCE]


def test_a_name_without_transport_is_the_same(store, registry, image):
    name = registry.push(image.reference, "short:latest")
    rootfs_of(store, name.removeprefix("docker://").removesuffix(":latest"), Steps(), access=PLAIN)

    assert [name] == list(layout.names(store))


def test_an_image_is_pulled_by_digest(store, registry, image):
    name = registry.push(image.reference, "digest:1").removesuffix(":1")
    made = rootfs_of(store, f"{name}@{image.digest}", Steps(), access=PLAIN)

    assert image.digest == made.digest
    with pytest.raises(SandboxError):
        pull(store, f"{name}@sha256:{'0' * 64}", Steps(), access=PLAIN)


def test_a_tag_that_moves_is_followed(store, ground, registry, image):
    name = registry.push(image.reference, "moves:1")
    rootfs_of(store, name, Steps(), access=PLAIN)
    other = Image(f"{ground}/other", sound(file("new", b"2")))
    registry.push(other.reference, "moves:1")
    kept = rootfs_of(store, name, Steps(), access=PLAIN)
    moved = rootfs_of(store, name, Steps(), access=PLAIN, refresh=True)

    assert (image.digest, other.digest) == (kept.digest, moved.digest)


def test_dockers_own_form_becomes_ocis(store, ground, registry, image):
    target = f"docker://{registry.host}/docker:1"
    words = ["copy", "--format=v2s2", "--dest-tls-verify=false", image.reference, target]
    subprocess.run(["skopeo", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    made = rootfs_of(store, target, Steps(), access=PLAIN)
    again = Steps()
    rootfs_of(store, target, again, access=PLAIN, refresh=True)

    assert {"etc", "etc/passwd", "hello", "x"} == set(tree(made.path))
    assert made.digest != layout.find(store, target).annotations[layout.SOURCE]
    assert [f"looking for {target}"] == again.steps


def test_the_platform_of_an_index_is_chosen(store, ground, registry):
    path = f"{ground}/image"
    entries = []
    for architecture in ("amd64", "arm64", "s390x"):
        image = Image(
            path,
            sound(file(architecture)),
            change_config=lambda config, name=architecture: config.update(architecture=name),
        )
        platform = {"os": "linux", "architecture": architecture}
        entries.append({**image.descriptor, "platform": platform})
    index = image.put(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": entries,
            }
        ).encode(),
        "application/vnd.oci.image.index.v1+json",
    )
    image.index([{**index, "annotations": {"org.opencontainers.image.ref.name": "x"}}])
    name = registry.push(image.reference, "many:1")
    other = rootfs_of(store, name, Steps(), access=PLAIN, platform=platforms.parse("s390x"))
    own = rootfs_of(store, name, Steps(), access=PLAIN, platform=platforms.of_host(), refresh=True)

    assert "s390x" in tree(other.path)
    assert platforms.of_host().architecture in tree(own.path)
    with pytest.raises(InputError, match="is not there for linux/mips") as caught:
        pull(store, name, Steps(), access=PLAIN, platform=platforms.parse("mips"))
    assert "linux/amd64, linux/arm64, linux/s390x" in caught.value.why


def test_a_registry_that_speaks_no_tls_is_refused_unless_told(store, registry, image):
    name = registry.push(image.reference, "tls:1")
    with pytest.raises(SandboxError) as caught:
        pull(store, name, Steps())

    assert "HTTP response to HTTPS client" in caught.value.why
    assert {} == layout.names(store)


def test_a_certificate_and_a_password_open_the_door(store, ground, guarded, image):
    name = guarded.push(image.reference, "guarded:1")
    access = Access(credentials=f"{USER}:{PASSWORD}", cert_dir=guarded.certificates)

    assert image.digest == rootfs_of(store, name, Steps(), access=access).digest
    assert PASSWORD not in str(held(store.path))


def test_a_file_of_passwords_opens_the_door(store, ground, guarded, image):
    name = guarded.push(image.reference, "guarded:1")
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with open(f"{ground}/auth.json", "w") as out:
        json.dump({"auths": {guarded.host: {"auth": auth}}}, out)
    access = Access(authfile=f"{ground}/auth.json", cert_dir=guarded.certificates)

    assert image.digest == rootfs_of(store, name, Steps(), access=access).digest


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_the_password_nothing_comes(store, guarded, image, password):
    name = guarded.push(image.reference, "guarded:1")
    access = Access(
        credentials=f"{USER}:{password}" if password else "", cert_dir=guarded.certificates
    )
    with pytest.raises(SandboxError) as caught:
        pull(store, name, Steps(), access=access)

    assert "authentication required" in caught.value.why
    assert {} == layout.names(store)
    assert [] == os.listdir(store.place("work"))


def test_a_certificate_that_nobody_vouches_for_is_refused(store, guarded, image):
    name = guarded.push(image.reference, "guarded:1")
    with pytest.raises(SandboxError) as caught:
        pull(store, name, Steps(), access=Access(credentials=f"{USER}:{PASSWORD}"))

    assert "certificate" in caught.value.why


def test_a_password_does_not_show_in_the_list_of_processes(store, guarded, image, monkeypatch):
    name = guarded.push(image.reference, "guarded:1")
    seen = []
    from aisbx_runtime.sandbox.images import pull as module

    run = module.run

    def looking(arguments, *others, **more):
        seen.append(" ".join(arguments))
        return run(arguments, *others, **more)

    monkeypatch.setattr(module, "run", looking)
    access = Access(credentials=f"{USER}:{PASSWORD}", cert_dir=guarded.certificates)
    pull(store, name, Steps(), access=access)

    assert 2 == len(seen)
    assert not [words for words in seen if PASSWORD in words]
