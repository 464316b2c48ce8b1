"""What the configs of engines allow, in words, on the hosts of `test_golden`.

A change of these is what a person reads: `make test-unit TESTS='tests/golden --regenerate-golden'`
writes them anew, to be reviewed.
"""

from __future__ import annotations

import pytest

from aisbx_runtime.oci.explain.document import explain, text_of
from aisbx_runtime.oci.plan.build import build
from aisbx_runtime.oci.spec import parse
from tests import hosts
from tests.golden.test_golden import CASES, OPTIONS, path_of


def words_of(case) -> str:
    with open(path_of(case, "config.json"), "rb") as file:
        spec = parse.spec_of(parse.text_of(file.read(), "config.json"), "config.json")
    parts: list[str] = []
    # The limits differ between unified and hybrid hosts; what they allow does not.
    for name in [name for name in CASES[case] if name != "hybrid"]:
        host = hosts.ALL[name]
        plan = build(spec, host, "CONTAINER", "/bundle", OPTIONS)
        found = explain(spec, spec.process, host, plan, "/bundle")
        parts.append(f"==== {name}\n{text_of(found, coloured=False)}")
    return "\n".join(parts)


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_config_of_an_engine_is_explained_so(case, request):
    actual = words_of(case)
    if request.config.getoption("--regenerate-golden"):
        with open(path_of(case, "explain.txt"), "w", encoding="utf-8") as file:
            file.write(actual)
    with open(path_of(case, "explain.txt"), encoding="utf-8") as file:
        expected = file.read()

    assert expected.splitlines() == actual.splitlines()


@pytest.mark.parametrize("case", sorted(CASES))
def test_it_is_readable_on_80_columns(case):
    long = [line for line in words_of(case).splitlines() if len(line) > 80]

    # One word that is longer than that stays whole: a path is to be copied.
    assert [] == [line for line in long if len(line.split()) > 1]
