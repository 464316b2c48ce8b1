from __future__ import annotations

import os

import pytest

from aisbx_runtime.sandbox.errors import InputError
from aisbx_runtime.sandbox.images import names

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("alpine", "docker://docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker://docker.io/library/alpine:3.20"),
        ("docker:27", "docker://docker.io/library/docker:27"),
        ("oci-tool", "docker://docker.io/library/oci-tool:latest"),
        ("dir/tool", "docker://docker.io/dir/tool:latest"),
        ("user/tool", "docker://docker.io/user/tool:latest"),
        ("docker.io/alpine", "docker://docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker://docker.io/library/alpine:latest"),
        ("quay.io/a/b-c__d.e:V1.0_x", "docker://quay.io/a/b-c__d.e:V1.0_x"),
        ("localhost/x", "docker://localhost/x:latest"),
        ("localhost:5000/x:y", "docker://localhost:5000/x:y"),
        ("docker://127.0.0.1:5000/x", "docker://127.0.0.1:5000/x:latest"),
        (f"alpine@{DIGEST}", f"docker://docker.io/library/alpine@{DIGEST}"),
        (f"alpine:3@{DIGEST}", f"docker://docker.io/library/alpine@{DIGEST}"),
        ("oci:/a/../b:tag", "oci:/b:tag"),
        ("oci:/b", "oci:/b"),
        ("docker-archive:/a.tar:x/y:z", "docker-archive:/a.tar:x/y:z"),
        ("oci-archive:/a.tar", "oci-archive:/a.tar"),
        ("dir:/a/b:c", "dir:/a/b:c"),
        ("containers-storage:[overlay@/a+/b]x", "containers-storage:[overlay@/a+/b]x"),
        ("docker-daemon:x:y", "docker-daemon:x:y"),
    ],
)
def test_what_people_write_has_one_name(written, expected):
    assert expected == names.normalised(written)


@pytest.mark.parametrize("written", ["alpine", "oci:image:tag", "dir:x", f"a/b@{DIGEST}"])
def test_a_name_is_its_own_name(written):
    name = names.normalised(written)

    assert name == names.normalised(name)


def test_a_relative_path_becomes_absolute():
    assert f"oci:{os.getcwd()}/image:tag" == names.normalised("oci:image:tag")


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Alpine",
        "a//b",
        "a/",
        "-a",
        "a:",
        "a:-x",
        "a:x:y",
        "../a",
        "a b",
        "a\nb",
        "a\x1b[31m",
        "a\ud800",
        "a@sha256:12",
        f"a@{DIGEST.replace('sha256', 'sha512')}",
        f"a@{DIGEST.upper()}",
        "ftp://x/y",
        "docker://",
        "oci:",
        "oci::tag",
        "dir:",
        "localhost:50x/a",
        "a" * 2000,
    ],
)
def test_what_names_no_image_is_refused(written):
    with pytest.raises(InputError):
        names.normalised(written)


def test_the_file_of_a_name_is_readable_and_has_no_slash():
    assert "docker%3A%2F%2Fdocker.io%2Flibrary%2Falpine%3Alatest" == names.file_name(
        "docker://docker.io/library/alpine:latest"
    )


def test_the_file_of_a_long_name_is_a_digest():
    first, second = (names.file_name("oci:/" + "x" * 300 + letter) for letter in "ab")

    assert (64, 64) == (len(first), len(second))
    assert first != second


def test_names_differ_where_their_files_do():
    assert names.file_name("oci:/a%2Fb") != names.file_name("oci:/a/b")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("docker://localhost:5000/x:y", "docker://localhost:5000/x"),
        (f"docker://a.b/x/y@{DIGEST}", "docker://a.b/x/y"),
    ],
)
def test_the_repository_of_a_name(name, expected):
    assert expected == names.repository(name)
