"""The mirror that this host's apt uses, from what its files say."""

from __future__ import annotations

import pytest

from integration import debian

STANZAS = """\
# the release
Types: deb
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
"""


def test_a_stanza_names_the_mirror_and_its_key():
    key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"

    assert ("http://mirror.example/debian", key) == debian.in_stanzas(STANZAS, "bookworm")


def test_a_stanza_without_a_key_has_no_options():
    found = debian.in_stanzas(STANZAS, "bookworm-security")

    assert ("http://mirror.example/security", "") == found


def test_a_key_on_lines_of_its_own_is_not_taken_for_fields():
    text = "URIs: http://a\nSuites: sid\nSigned-By:\n -----BEGIN\n .\n Comment: x\n"

    assert ("http://a", "") == debian.in_stanzas(text, "sid")


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("deb http://a/debian sid main", ""),
        (
            "deb [arch=amd64 signed-by=/k.gpg] http://a/debian sid main",
            "[arch=amd64 signed-by=/k.gpg]",
        ),
    ],
)
def test_a_line_names_the_mirror_and_its_options(line, options):
    text = f"# deb http://old/debian sid main\ndeb-src http://src/debian sid main\n{line}\n"

    assert ("http://a/debian", options) == debian.in_lines(text, "sid")


def test_a_suite_that_is_not_there_has_no_mirror():
    assert debian.in_stanzas(STANZAS, "sid") is None
    assert debian.in_lines("deb http://a/debian sid main\n", "bookworm") is None
