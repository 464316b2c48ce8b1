"""`ociVersion` is a version as SemVer 2.0.0 defines it, of the first major version."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.spec import parse
from tests.strategies import base_config


def read(version):
    return parse.spec_of(json.dumps({**base_config(), "ociVersion": version}), "config.json")


def refusal(version):
    with pytest.raises(SpecError) as caught:
        read(version)
    return caught.value.what


NUMBERS = ["0.1.0", "1.0.0", "1.2.1", "1.3.0", "1.99.0", "1.10.20", "1.0.123456789012345678901234"]
# The examples of semver.org, items 9 and 10, and what engines write.
TAILS = [
    "-dev", "+dev", "-alpha", "-alpha.1", "-0.3.7", "-x.7.z.92", "-x-y-z.--", "-alpha+001",
    "+20130313144700", "-beta+exp.sha.5114f85", "+21AF26D3---117B344092BD", "-rc5-dev", "--", "-0a",
    "+-",
]  # fmt: skip


@pytest.mark.parametrize("version", [*NUMBERS, *(f"1.2.3{tail}" for tail in TAILS)])
def test_a_semantic_version_is_taken(version):
    assert read(version).oci_version == version


ODD = [
    "", " ", "1", "1.", "1.x", "1.2", "1.2.3.4", "1.2.", ".2.3", "1..3", "v1.2.3", "1.2.3 ",
    "1.2.3\n", " 1.2.3", "-1.2.3", "+1.2.3", "1.-2.3", "1.².0", "1.x.0", "1.٣.0", "01.2.3",
    "1.02.3", "1.2.03",
    "1.2.3-", "1.2.3+", "1.2.3-+x", "1.2.3-a..b", "1.2.3-.", "1.2.3-a.", "1.2.3-01", "1.2.3-a.00",
    "1.2.3-a_b", "1.2.3-é", "1.2.3+a..b", "1.2.3+a+b", "1.2.3+a b", "1.2-dev", "1.0.2/dev", "dev",
]  # fmt: skip


@pytest.mark.parametrize("version", ODD)
def test_what_is_no_semantic_version_is_refused(version):
    # A field without a value is missing, to a Go program.
    expected = "expected a semantic version" if version else "required, and may not be empty"

    assert refusal(version) == f"ociVersion: {expected}"


@pytest.mark.parametrize("version", ["2.0.0", "10.0.0", "11.2.3", "9.0.0-dev"])
def test_another_major_version_is_refused(version):
    assert refusal(version) == "ociVersion: expected version 1 of the runtime spec"


numbers = st.integers(0).map(str)
words = st.text(f"{string.ascii_letters}{string.digits}-", min_size=1)
pre_release_words = numbers | words.filter(lambda word: not word.isdigit())
versions = st.builds(
    "{}.{}.{}{}{}".format,
    st.sampled_from([0, 1]),
    numbers,
    numbers,
    st.just("") | st.lists(pre_release_words, min_size=1).map(lambda found: "-" + ".".join(found)),
    st.just("") | st.lists(words, min_size=1).map(lambda found: "+" + ".".join(found)),
)


@given(versions)
def test_whatever_follows_the_rules_of_semver_is_taken(version):
    assert read(version).oci_version == version
