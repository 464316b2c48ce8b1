"""Records are values: equal by type and fields, frozen, hashable, cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.record import record


@record
class Point:
    """Two fields, one with a default."""

    x: int
    y: int = 0

    def moved(self, by: int) -> Point:
        return Point(self.x + by, self.y)


@record
class Other:
    x: int
    y: int = 0


@record
class Empty:
    pass


values = st.integers() | st.text() | st.none() | st.tuples(st.integers())


@given(values, values)
def test_fields_are_given_by_place_or_by_name(x, y):
    assert Point(x, y) == Point(y=y, x=x) == Point(x, y=y)
    assert (x, y) == (Point(x, y).x, Point(x, y).y)


@given(values, values, values, values)
def test_two_are_equal_when_their_fields_are(a, b, c, d):
    assert (Point(a, b) == Point(c, d)) is ((a, b) == (c, d))
    if Point(a, b) == Point(c, d):
        assert hash(Point(a, b)) == hash(Point(c, d))


@given(values, values)
def test_another_type_with_the_same_fields_is_another_thing(x, y):
    assert Point(x, y) != Other(x, y)
    assert 2 == len({Point(x, y), Other(x, y)})


def test_it_equals_nothing_that_is_no_record():
    assert Point(1, 2) != (1, 2)


def test_a_default_is_used_when_nothing_is_given():
    assert Point(1, 0) == Point(1)


def test_a_record_without_fields_is_a_record():
    assert Empty() == Empty()
    assert "Empty()" == repr(Empty())


@pytest.mark.parametrize("name", ["x", "new"])
def test_a_field_cannot_be_changed_added_or_taken_away(name):
    point = Point(1)
    with pytest.raises(AttributeError, match=f"Point.{name} is frozen"):
        setattr(point, name, 2)
    with pytest.raises(AttributeError, match="frozen"):
        delattr(point, name)

    assert Point(1) == point


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((), {"y": 1}), ((), {"z": 1})],
)
def test_missing_and_unknown_fields_are_refused(args, kwargs):
    with pytest.raises(TypeError, match=r"^Point: missing or unknown fields"):
        Point(*args, **kwargs)


def test_a_field_given_twice_is_refused():
    with pytest.raises(TypeError, match="Point"):
        Point(1, x=2)


@given(values, values)
def test_repr_can_be_read_back(x, y):
    point = Point(x, y)

    assert point == eval(repr(point), {"Point": Point})  # noqa: S307


def test_fields_can_be_matched_by_place():
    match Point(1, 2):
        case Point(x, y):
            assert (1, 2) == (x, y)


def test_methods_stay():
    assert Point(3, 4) == Point(1, 4).moved(2)


def test_a_mutable_field_makes_it_unhashable_and_nothing_else():
    point = Point({})

    assert Point({}) == point
    with pytest.raises(TypeError, match="unhashable"):
        hash(point)


def test_the_module_imports_nothing():
    code = (
        "import sys; before = set(sys.modules); import aisbx_runtime.oci.record;"
        "print(sorted(set(sys.modules) - before))"
    )
    argv = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    expected = ["__future__", "aisbx_runtime", "aisbx_runtime.oci", "aisbx_runtime.oci.record"]

    assert f"{expected}\n" == out
