"""Device rules of config.json, and what they come to on cgroup v1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.bpf.devices import EVERY_ACCESS, MKNOD, READ, WRITE, Rule
from aisbx_runtime.oci.errors import SpecError
from aisbx_runtime.oci.plan.cgroup_devices import DEFAULTS, exceptions_of, rules_of, text_of
from aisbx_runtime.oci.spec.model import Device, DeviceRule, Linux, Resources

DENY_ALL = DeviceRule(allow=False, type="a", major=None, minor=None, access="rwm")


def linux(*rules: DeviceRule, devices: tuple[Device, ...] = ()) -> Linux:
    return Linux(resources=Resources(devices=rules), devices=devices)


def test_without_rules_there_is_no_filter():
    assert rules_of(linux(devices=(Device("c", "/dev/fuse", 10, 229),))) == ()


def test_without_resources_there_is_no_filter():
    assert rules_of(Linux()) == ()


def test_the_default_devices_stay_allowed_after_the_rules():
    rules = rules_of(linux(DENY_ALL))

    assert DEFAULTS == rules[1:]
    assert ["c *:* m", "b *:* m"] == [text_of(rule) for rule in DEFAULTS[:2]]


@pytest.mark.parametrize("type_", ["c", "u", "b", "p"])
def test_a_node_of_the_container_needs_a_rule_of_its_own(type_):
    rules = rules_of(linux(DENY_ALL, devices=(Device(type_, "/dev/x", 10, 229),)))

    assert DEFAULTS == rules[1:]


def test_the_console_of_the_host_is_not_among_the_defaults():
    assert "c 5:1 rwm" not in [text_of(rule) for rule in DEFAULTS]


def test_an_empty_access_is_every_access():
    (rule, *_) = rules_of(
        linux(DeviceRule(allow=False, type="a", major=None, minor=None, access=""))
    )

    assert EVERY_ACCESS == rule.access


@pytest.mark.parametrize(("type_", "access"), [("x", "r"), ("c", "rx")])
def test_an_unknown_type_or_letter_is_refused(type_, access):
    rule = DeviceRule(allow=True, type=type_, major=1, minor=3, access=access)
    with pytest.raises(SpecError):
        rules_of(linux(rule))


def allow(kind: str, major: int | None, minor: int | None, access: int) -> Rule:
    return Rule(allow=True, kind=kind, major=major, minor=minor, access=access)


def deny(kind: str, major: int | None, minor: int | None, access: int) -> Rule:
    return Rule(allow=False, kind=kind, major=major, minor=minor, access=access)


ALL = EVERY_ACCESS


def test_on_v1_exceptions_follow_a_default():
    rules = (
        allow("a", None, None, ALL),
        deny("a", None, None, ALL),
        allow("c", 1, 3, READ),
        allow("c", 1, 3, WRITE),
        allow("b", 8, None, MKNOD),
    )
    default, exceptions = exceptions_of(rules)

    assert default is False
    assert ["c 1:3 rw", "b 8:* m"] == [text_of(one) for one in exceptions]


def test_on_v1_a_rule_takes_an_exception_back():
    rules = (allow("c", 1, 3, ALL), deny("c", 1, None, WRITE))
    _, exceptions = exceptions_of(rules)

    assert ["c 1:3 rm"] == [text_of(one) for one in exceptions]


def test_on_v1_a_rule_for_all_types_is_one_for_each():
    _, exceptions = exceptions_of((allow("a", 1, 3, READ),))

    assert ["b 1:3 r", "c 1:3 r"] == [text_of(one) for one in exceptions]


def test_on_v1_a_part_cannot_be_taken_out_of_an_exception():
    rules = (allow("c", None, None, ALL), deny("c", 1, 3, WRITE))
    with pytest.raises(SpecError) as caught:
        exceptions_of(rules)

    assert "deny c 1:3 w" in caught.value.what


def test_on_v1_a_part_that_was_not_in_the_exception_is_no_contradiction():
    rules = (allow("c", None, None, MKNOD), deny("c", 1, 3, WRITE))

    assert exceptions_of(rules) == (False, (allow("c", None, None, MKNOD),))


RULES = st.lists(
    st.builds(
        Rule,
        allow=st.booleans(),
        kind=st.sampled_from("abc"),
        major=st.sampled_from([None, 1, 5]),
        minor=st.sampled_from([None, 3]),
        access=st.integers(1, EVERY_ACCESS),
    ),
    max_size=8,
)


@given(
    RULES,
    st.sampled_from("bc"),
    st.sampled_from([1, 5, 7]),
    st.sampled_from([3, 9]),
    st.sampled_from([MKNOD, READ, WRITE]),
)
def test_on_v1_the_last_rule_decides_too_or_the_rules_are_refused(rules, kind, major, minor, bit):
    def matches(one: Rule) -> bool:
        same_number = one.major in {None, major} and one.minor in {None, minor}
        return one.kind in {"a", kind} and same_number and bool(one.access & bit)

    try:
        default, exceptions = exceptions_of(tuple(rules))
    except SpecError:
        return
    wanted = next((one.allow for one in reversed(rules) if matches(one)), False)
    # security/device_cgroup.c: an exception that matches reverses the default.
    given_ = default != any(matches(one) for one in exceptions)

    assert wanted == given_
