"""Whether criu can be used: one answer for help, features and doctor."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.criu import program
from aisbx_runtime.oci.criu.program import Found
from aisbx_runtime.oci.errors import RESERVED_WORDS, HostError
from aisbx_runtime.oci.probe import tools
from aisbx_runtime.oci.probe.check import LIMITED, MISSING, OK


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (Found("", lacks="criu is not installed"), MISSING),
        (Found("/x/criu", "3.17.1", "criu 3.17.1 is older than 4"), LIMITED),
        (Found("/x/criu", "4.2", "criu check fails: no"), LIMITED),
        (Found("/x/criu", "4.2"), OK),
    ],
)
def test_the_doctor_says_what_was_found(found, state):
    check = tools.criu_check(found)

    assert state == check.state
    assert state == OK or check.command or check.remedy


def test_an_old_one_is_told_by_its_version():
    assert Found("/x", "3.17.1").is_old()
    assert not Found("/x", "4.2.1").is_old()
    assert not Found("/x", "10.0").is_old()


@pytest.fixture
def fake(tmp_path, monkeypatch):
    def make(text):
        path = tmp_path / "criu"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setattr(program, "search_path", lambda: str(tmp_path))
        return str(path)

    return make


VERSION = '[ "$1" = --version ] && echo Version: 4.2'
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="criu is for root")


@as_root
def test_a_working_one_is_found(fake):
    path = fake('[ "$1" = check ] || echo "Version: 4.2.1"')

    assert Found(path, "4.2.1") == program.require()


@as_root
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo Version: 3.17.1", "3.17.1 is older"),
        ("exit 127", "does not run"),
        ("echo nonsense", "does not run"),
        (f"{VERSION} || {{ echo 'Error (x.c:1): mount: Operation not permitted'; exit 1; }}",
         "mount: EPERM"),
    ],
)  # fmt: skip
def test_one_that_does_not_is_refused_with_the_reason(fake, script, told):
    fake(script)
    with pytest.raises(HostError) as raised:
        program.require()

    assert told in raised.value.why
    assert raised.value.hint
    assert not any(words in raised.value.line().lower() for words in RESERVED_WORDS)
