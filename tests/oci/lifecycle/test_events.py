"""The time between two events; what is printed is told by tests of statistics and integration."""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.errors import UsageError
from aisbx_runtime.oci.lifecycle import events


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), (".5s", 0.5), ("10us", 1e-5)],
)
def test_a_time_is_what_go_says(text, seconds):
    assert seconds == pytest.approx(events.interval_of(text))


@pytest.mark.parametrize("text", ["5", "0s", "-1s", "s", "1.2.3s", "5s ", "5d", ".s"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError):
        events.interval_of(text)
