"""The commands as people and programs call them: bin/aisbx, its JSON held against its schema."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from integration.images.making import Image, layer, sound
from tests.schema import check_json

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Answer:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def notes(self) -> list[dict]:
        return [json.loads(line) for line in self.err.splitlines()]


@pytest.fixture
def aisbx(ground):
    path = f"{ROOT}/bin/aisbx"
    if not os.access(path, os.X_OK):
        pytest.skip(f"{path} is missing: make build")

    def call(*words: str, **more) -> Answer:
        return Answer(
            subprocess.run(
                [path, "--store", f"{ground}/store", *words],
                check=False,
                text=True,
                capture_output=True,
                **{"stdin": subprocess.DEVNULL} | more,
            )
        )

    return call


@pytest.fixture
def image(ground):
    return Image(f"{ground}/image", sound(), config={"Labels": {"a": "b"}})


def test_pull_prints_the_digest(aisbx, image):
    done = aisbx("image", "pull", image.reference)

    assert (0, f"{image.digest}\n") == (done.code, done.out)
    assert f"aisbx: copying {image.reference}" in done.err


def test_the_json_of_each_command_is_what_the_schema_says(aisbx, image):
    pulled = aisbx("--json", "image", "pull", image.reference)
    check_json("image-pull", pulled.json)
    for note in pulled.notes:
        check_json("progress", note)
    listed = aisbx("image", "ls", "--json")
    check_json("image-ls", listed.json)
    seen = aisbx("image", "inspect", "--json", image.reference)
    check_json("image-inspect", seen.json)
    removed = aisbx("image", "rm", "--json", image.reference)
    check_json("image-rm", removed.json)
    collected = aisbx("image", "gc", "--json")
    check_json("image-gc", collected.json)

    assert [image.reference] == [found["name"] for found in listed.json]
    assert {"a": "b"} == seen.json["config"]["config"]["Labels"]
    assert (3, 1) == tuple(len(removed.json["collected"][name]) for name in ("blobs", "rootfs"))
    assert [] == aisbx("image", "ls", "--json").json


def test_an_error_is_one_line_of_json(aisbx, ground):
    done = aisbx("--json", "image", "pull", f"oci:{ground}/none:x")
    check_json("error", done.notes[-1])

    assert (1, "") == (done.code, done.out)
    assert "image pull" == done.notes[-1]["error"]["command"]


def test_a_label_cannot_speak_to_the_terminal(aisbx, ground):
    image = Image(f"{ground}/image", sound(), config={"Labels": {"a": "\x1b]0;x\x07"}})
    aisbx("image", "pull", image.reference)

    assert "\x1b" not in aisbx("image", "inspect", image.reference).out


def test_a_reference_that_names_nothing_is_refused(aisbx):
    done = aisbx("image", "pull", "Not An Image")

    assert 1 == done.code
    assert "is no name of an image" in done.err


def test_a_name_that_is_not_there_cannot_be_removed(aisbx):
    done = aisbx("image", "rm", "alpine")

    assert 1 == done.code
    assert "there is no such image (docker://docker.io/library/alpine:latest)" in done.err


def test_two_names_of_one_image_share_it(aisbx, ground, image):
    other = Image(f"{ground}/other", sound(), config={"Labels": {"a": "b"}})
    for one in (image, other):
        aisbx("image", "pull", one.reference)
    removed = aisbx("image", "rm", "--json", image.reference).json

    assert {image.reference: [f"name {other.reference}"]} == removed["in_use"]
    assert [] == removed["collected"]["rootfs"]
    assert image.digest == other.digest


def test_a_password_comes_from_stdin(aisbx, image):
    done = aisbx(
        "image", "pull", "--user", "me", "--password-stdin", image.reference,
        stdin=None, input="secret\n",
    )  # fmt: skip

    assert 0 == done.code


def test_a_spoilt_image_does_not_hide_the_others(aisbx, ground, image):
    spoilt = Image(f"{ground}/spoilt", layer(("x", b"1")))
    for one in (image, spoilt):
        aisbx("image", "pull", one.reference)
    path = f"{ground}/store/layout/blobs/sha256/{spoilt.digest.removeprefix('sha256:')}"
    with open(path, "w") as out:
        out.write("{}")
    done = aisbx("image", "ls", "--json")

    assert [image.reference] == [found["name"] for found in done.json]
    assert spoilt.reference in done.notes[0]["note"]
