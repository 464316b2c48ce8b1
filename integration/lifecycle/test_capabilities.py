"""The five capability sets, as the kernel shows them."""

from __future__ import annotations

import pytest

from integration.differences import known_of_runc

NUMBERS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_AUDIT_WRITE": 29}
SETS = {
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "effective": "CapEff",
    "bounding": "CapBnd",
    "ambient": "CapAmb",
}


def mask(*names):
    return sum(1 << NUMBERS[name] for name in names)


def masks(runtime, bundle):
    """Return the sets of a program that is executed without a shell."""
    result = runtime.run(bundle.args("/bin/grep", "Cap", "/proc/self/status")).ok()
    found = dict(line.split(":\t") for line in result.lines)
    return {name: int(found[field], 16) for name, field in SETS.items()}


def test_bounding_effective_and_permitted_are_set(runtime, bundle):
    bundle.all_capabilities("CAP_CHOWN", "CAP_KILL")
    both = mask("CAP_CHOWN", "CAP_KILL")

    assert masks(runtime, bundle) == {
        "inheritable": 0,
        "permitted": both,
        "effective": both,
        "bounding": both,
        "ambient": 0,
    }


def test_all_five_sets_are_set(runtime, bundle):
    names = ["CAP_CHOWN", "CAP_KILL"]
    bundle.capabilities(**dict.fromkeys(SETS, names))

    assert masks(runtime, bundle) == dict.fromkeys(SETS, mask(*names))


def test_the_bounding_set_may_be_larger(runtime, bundle):
    one, two = ["CAP_KILL"], ["CAP_KILL", "CAP_CHOWN"]
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.capabilities(bounding=two, permitted=one, effective=one, inheritable=one, ambient=one)
    found = masks(runtime, bundle)

    assert found["bounding"] == mask(*two)
    assert found["permitted"] == found["effective"] == found["ambient"] == mask(*one)


def test_no_capabilities_leave_none(runtime, bundle):
    bundle.capabilities(bounding=[], permitted=[], effective=[])

    assert masks(runtime, bundle) == dict.fromkeys(SETS, 0)


def test_absent_sets_are_empty(runtime, bundle):
    bundle.capabilities()

    assert set(masks(runtime, bundle).values()) == {0}


def test_the_sets_of_the_caller_are_not_inherited(runtime, bundle):
    bundle.all_capabilities("CAP_KILL")

    assert masks(runtime, bundle)["inheritable"] == 0


def test_another_user_keeps_nothing_without_ambient(runtime, bundle):
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    bundle.all_capabilities("CAP_KILL")
    found = masks(runtime, bundle)

    assert found["effective"] == found["permitted"] == 0
    assert found["bounding"] == mask("CAP_KILL")


def test_another_user_has_ambient_capabilities(runtime, bundle):
    # podman: --user 1000 --cap-add
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    names = ["CAP_NET_BIND_SERVICE"]
    bundle.capabilities(**dict.fromkeys(SETS, names))

    assert masks(runtime, bundle)["effective"] == mask("CAP_NET_BIND_SERVICE")


def test_a_dropped_capability_is_missed(runtime, bundle):
    bundle.all_capabilities("CAP_KILL")

    assert runtime.run(bundle, "chown 5 /tmp").code != 0


def test_a_given_capability_works(runtime, bundle):
    bundle.all_capabilities("CAP_CHOWN")

    assert runtime.run(bundle, "chown 5 /tmp").code == 0


@pytest.mark.parametrize("name", ["CAP_NOSUCH", "CAP_9999"])
def test_an_unknown_capability_is_left_out(runtime, bundle, name):
    bundle.all_capabilities("CAP_KILL", name)

    assert masks(runtime, bundle)["effective"] == mask("CAP_KILL")


def test_an_unknown_capability_brings_no_failure_and_at_most_a_warning(runtime, bundle):
    bundle.all_capabilities("CAP_KILL", "CAP_NOSUCH")
    result = runtime.run(bundle, "true")

    assert result.code == 0
    assert result.err == "" or "CAP_NOSUCH" in result.err


@pytest.mark.parametrize("name", ["cap_kill", "KILL"])
def test_a_name_in_another_spelling_is_not_silently_taken_for_all(runtime, bundle, name):
    bundle.all_capabilities(name)
    result = runtime.run(bundle.args("/bin/grep", "CapEff", "/proc/self/status"))
    known_of_runc(runtime, "it takes lower case", seen=result.code == 0 and name.islower())

    assert result.code != 0 or int(result.out.split()[1], 16) in {0, mask("CAP_KILL")}
