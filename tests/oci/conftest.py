"""Fixtures of several directories below."""

from __future__ import annotations

import pytest


@pytest.fixture
def container():
    """Make containers that are nothing but cgroups with processes; all are gone afterwards."""
    from tests.oci import cgroups

    made: list[cgroups.Container] = []

    def make(*args, **kwargs) -> cgroups.Container:
        made.append(cgroups.Container(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
    cgroups.remove_all()
