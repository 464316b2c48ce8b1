"""How long is fuzzed: few examples, always the same, in CI; FACTOR times as many by hand.

AISBX_FUZZ_FACTOR=100 draws other examples each time, or those of `--hypothesis-seed=N`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    from collections.abc import Callable

FACTOR = float(os.environ.get("AISBX_FUZZ_FACTOR", "1"))
CALM = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    # The ground is made once, and checks itself after each example.
    HealthCheck.function_scoped_fixture,
]


def effort(examples: int) -> Callable[[Any], Any]:
    """Return the settings of a test that draws this many examples in CI."""
    return settings(
        max_examples=max(int(examples * FACTOR), 1),
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        suppress_health_check=CALM,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
