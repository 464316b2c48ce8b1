"""The same bundles under runc, crun and ours: every difference is on the list of `known`.

The long run by hand: AISBX_DIFFERENTIAL_EXAMPLES=1000, with any seed in AISBX_DIFFERENTIAL_SEED.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from integration import host
from integration.differential import generated, known
from integration.differential.cases import CASES, EVERYWHERE
from integration.differential.engines import NAMES, engine_case
from integration.differential.failures import FAILURES

BOTH = {"podman4-limits", "docker"}
EXAMPLES = int(os.environ.get("AISBX_DIFFERENTIAL_EXAMPLES", "16"))
SEED = int(os.environ.get("AISBX_DIFFERENTIAL_SEED", "3"))


@pytest.mark.parametrize("name", CASES)
def test_a_bundle_is_the_same_under_all_runtimes(comparison, name):
    assert "" == comparison.unknown(name, CASES[name], everywhere=name in EVERYWHERE)


@pytest.mark.parametrize("name", FAILURES)
def test_a_bundle_fails_under_all_runtimes_alike(comparison, name):
    assert "" == comparison.unknown(name, FAILURES[name], everywhere=False)


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_s_bundle_is_the_same_under_all_runtimes(comparison, name):
    assert "" == comparison.unknown(f"engine {name}", engine_case(name), everywhere=name in BOTH)


@pytest.mark.timeout(180 + 10 * EXAMPLES)
def test_generated_bundles_are_the_same_under_all_runtimes(comparison):
    # A shrunk example is for who looks for it: it costs hundreds of containers.
    phases = [Phase.generate] if EXAMPLES <= 16 else [Phase.generate, Phase.shrink]

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @given(generated.CHOICES)
    def same(chosen):
        name = repr(sorted(chosen.items()))

        assert "" == comparison.unknown(name, generated.generated_case(chosen), everywhere=False)

    same()


def test_every_listed_difference_is_still_one(comparison):
    if comparison.versions() != known.PEERS:
        pytest.skip(f"the list is for {known.PEERS}, here are {comparison.versions()}")
    if host.unified():
        pytest.skip("some entries are about hybrid hosts")
    for name, case in {**CASES, **FAILURES}.items():
        comparison.unknown(name, case, everywhere=name in EVERYWHERE)
    for name in NAMES:
        comparison.unknown(f"engine {name}", engine_case(name), everywhere=name in BOTH)

    assert [] == comparison.stale()
