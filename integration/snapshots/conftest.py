"""The program and its images are those of the sandboxes' tests."""

from __future__ import annotations

import json

import pytest

from integration.sandbox.conftest import aisbx, images
from integration.snapshots.driver import sound
from tests.schema import check_json

__all__ = ["aisbx", "images"]


@pytest.fixture
def snapshots(aisbx):
    """Call `aisbx snapshot ...`; its JSON is held against the schema; all is removed at the end."""

    def call(verb, *words):
        found = json.loads(aisbx("snapshot", verb, "--json", *words).ok().out)
        check_json(f"snapshot-{verb}", found)
        return found

    yield call
    for each in call("ls"):
        call("rm", each["id"])
    call("gc")

    assert {"trees": [], "files": [], "names": [], "work": []} == sound(aisbx.store)
