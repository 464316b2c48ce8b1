"""What the configs of engines become, step by step, on hosts given as values.

A change of a plan is a line in a diff here, and needs a sentence in its commit. `make test-unit
TESTS='tests/golden --regenerate-golden'` writes the plans anew.
Where the configs come from: README.md.
"""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.lifecycle.plan import text_of
from aisbx_runtime.oci.plan.build import Options, build
from aisbx_runtime.oci.spec import parse
from tests import hosts

HERE = os.path.dirname(os.path.abspath(__file__))
# case -> the hosts that it is planned for, in the order of the sections of plan.txt
ROOT = ("unified", "hybrid")
CASES = {
    "buildah": ROOT,
    "containerd": ROOT,
    "docker": ROOT,
    "podman4": ROOT,
    "podman4-host-namespaces": ROOT,
    "podman4-limits": ROOT,
    "podman4-privileged": ROOT,
    "podman4-rootless": ("rootless",),
    "podman4-userns": ROOT,
    "podman5": ROOT,
    "podman5-idmap": ROOT,
    "runc-spec": ROOT,
    "runc-spec-rootless": ("user", "rootless"),
}
OPTIONS = Options("/run/aisbx/.cache/seccomp")


def path_of(case, name):
    return os.path.join(HERE, case, name)


def plans_of(case) -> str:
    with open(path_of(case, "config.json"), "rb") as file:
        text = parse.text_of(file.read(), "config.json")
    spec = parse.spec_of(text, "config.json")
    return "\n".join(
        [
            f"==== {name}\n{text_of(build(spec, hosts.ALL[name], 'CONTAINER', '/bundle', OPTIONS))}"
            for name in CASES[case]
        ]
    )


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_config_of_an_engine_becomes_this_plan(case, request):
    actual = plans_of(case)
    if request.config.getoption("--regenerate-golden"):
        with open(path_of(case, "plan.txt"), "w", encoding="utf-8") as file:
            file.write(actual)
    with open(path_of(case, "plan.txt"), encoding="utf-8") as file:
        expected = file.read()

    assert expected.splitlines() == actual.splitlines()


def test_every_case_is_listed():
    found = [entry.name for entry in os.scandir(HERE) if entry.is_dir() and entry.name[0] != "_"]

    assert sorted(CASES) == sorted(found)
