"""What a person writes for a place, and where nothing goes. Real pushes: integration/images."""

from __future__ import annotations

import pytest

from aisbx_runtime.sandbox.errors import InputError, NotFoundError
from aisbx_runtime.sandbox.images.push import names_a_place, push
from aisbx_runtime.sandbox.store import Store


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("docker://registry.example/a:1", True),
        ("oci:/tmp/layout:a", True),
        ("dir:relative", True),
        ("containers-storage:localhost/a", True),
        ("docker-archive:/tmp/a.tar", True),
        ("alpine", False),
        ("docker:27", False),
        ("registry.example:5000/a:1", False),
        ("localhost/a", False),
    ],
)
def test_a_place_has_a_transport_and_a_name_has_none(reference, place):
    assert names_a_place(reference) == place


def test_a_name_is_no_place_to_push_to(tmp_path):
    with pytest.raises(InputError, match="this is a name") as caught:
        push(Store.open(str(tmp_path / "store")), "a", "example.com/a")

    assert "docker://REGISTRY/" not in caught.value.where
    assert caught.value.hint.startswith("write docker://")


def test_what_is_not_in_the_store_is_not_pushed(tmp_path):
    with pytest.raises(NotFoundError):
        push(Store.open(str(tmp_path / "store")), "a", f"oci:{tmp_path}/out:a")

    assert not (tmp_path / "out").exists()
