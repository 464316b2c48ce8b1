"""Documented differences: what a test demands of us though runc is known not to do it.

README.md lists them. Everything else that cannot be tested on a machine is skipped by probing the
machine, never by the name of the runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.runtime import Runtime


def known_of_runc(runtime: Runtime, sentence: str, *, seen: bool) -> None:
    """Skip when the runtime is runc and shows the known difference; fail anybody else."""
    if seen and runtime.name == "runc":
        pytest.skip(f"documented difference of runc: {sentence}")
