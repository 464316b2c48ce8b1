"""A compiled program is found again by its profile, and by no profile that means anything else."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.record import replace
from aisbx_runtime.oci.seccomp import apart, cache, compiler
from aisbx_runtime.oci.spec import parse
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import base_profile, profile, rule
from tests.oci.seccomp.simulate import Call
from tests.oci.seccomp.strategies import ABIS, pairs
from tests.strategies import base_config, mutated, seccomps

PLAIN = profile(rule("getppid", errno_ret=7))
DIFFERENT = [
    profile(rule("getppid", errno_ret=8)),
    profile(rule("getppid", errno_ret=None)),
    profile(rule("getppid", errno_ret=0)),
    profile(rule("getppid", errno_ret=7), default_errno=1),
    profile(rule("getppid", errno_ret=7), default="SCMP_ACT_LOG"),
    profile(rule("getppid", errno_ret=7), flags=()),
    profile(rule("getppid", errno_ret=7), flags=("SECCOMP_FILTER_FLAG_LOG",)),
    profile(rule("getppid", errno_ret=7), architectures=("SCMP_ARCH_X86",)),
    profile(rule("getppid", errno_ret=7, action="SCMP_ACT_TRACE")),
    profile(rule("getppid", errno_ret=7, args=[(0, 1, 0, "SCMP_CMP_EQ")])),
    profile(rule("getppid", errno_ret=7, args=[(0, 1, 0, "SCMP_CMP_NE")])),
    profile(rule("getppid", errno_ret=7, args=[(0, 1, 1, "SCMP_CMP_EQ")])),
    profile(rule("getppid", errno_ret=7, args=[(0, 11, 0, "SCMP_CMP_EQ")])),
    profile(rule("getppid", errno_ret=7, args=[(1, 1, 0, "SCMP_CMP_EQ")])),
    profile(rule("getppid", "kill", errno_ret=7)),
    profile(rule("getppidkill", errno_ret=7)),
    profile(rule("getppid', 'kill", errno_ret=7)),
    profile(rule("getppid"), rule("kill", errno_ret=7)),
    profile(rule("getppid", errno_ret=7), rule("getppid", errno_ret=7)),
    profile(),
]


def test_profiles_that_differ_have_different_keys():
    keys = {cache.key_of(each, "x86_64") for each in [PLAIN, *DIFFERENT]}

    assert len(keys) == 1 + len(DIFFERENT)


def test_machines_have_different_keys():
    assert cache.key_of(PLAIN, "x86_64") != cache.key_of(PLAIN, "aarch64")


def test_a_name_that_is_no_text_has_a_key():
    assert len(cache.key_of(profile(rule("\udcff", "ä", "\n")), "x86_64")) == 64


def test_what_does_not_decide_about_the_program_is_not_in_the_key():
    seccomp = base_profile()
    with_listener = type(seccomp)(**{**vars(seccomp), "listener_path": "/run/listener"})

    assert cache.key_of(seccomp, "x86_64") == cache.key_of(with_listener, "x86_64")


# ---- every field ---------------------------------------------------------------------------------
# They are for the stub and the listener: the program is the same.
APART = {"listener_path", "listener_metadata"}
OTHERS = {str: "other", int: 7, type(None): 9}


def changed(value):
    """Yield (field, `value` with this field changed), for every field at any depth."""
    for name in type(value).__annotations__:
        old = getattr(value, name)
        if not isinstance(old, tuple):
            yield name, replace(value, **{name: OTHERS[type(old)]})
            continue
        for at, item in enumerate(old):
            inside = [("", "other")] if isinstance(item, str) else changed(item)
            for inner, new in inside:
                yield inner or name, replace(value, **{name: (*old[:at], new, *old[at + 1 :])})
        if old:
            yield name, replace(value, **{name: old[:-1]})


def test_every_field_that_decides_about_the_program_is_in_the_key():
    same = {
        name
        for name, other in changed(base_profile())
        if cache.key_of(other, "x86_64") == cache.key_of(base_profile(), "x86_64")
    }

    assert same == APART


# ---- by the thousand -----------------------------------------------------------------------------
def deciding(seccomp):
    return replace(seccomp, **dict.fromkeys(APART, ""))


def read(value):
    config = base_config()
    config["linux"]["seccomp"] = value
    try:
        return parse.spec_of(json.dumps(config), "config.json").linux.seccomp
    except SpecError:
        return None


@given(seccomps.flatmap(lambda value: st.tuples(st.just(value), mutated(st.just(value)))))
def test_two_texts_share_a_key_if_and_only_if_they_say_the_same_of_the_program(values):
    one, other = map(read, values)
    if one is None or other is None:
        return

    same = cache.key_of(one, "x86_64") == cache.key_of(other, "x86_64")
    assert same == (deciding(one) == deciding(other))


@given(pairs())
def test_two_profiles_share_a_key_if_and_only_if_they_say_the_same_of_the_program(drawn):
    one, other, _ = drawn

    same = cache.key_of(one, "x86_64") == cache.key_of(other, "x86_64")
    assert same == (deciding(one) == deciding(other))


def reordered(value, draw):
    if isinstance(value, dict):
        return {name: reordered(value[name], draw) for name in draw(st.permutations(list(value)))}
    return [reordered(item, draw) for item in value] if isinstance(value, list) else value


@given(seccomps, st.data())
def test_the_order_of_the_members_of_an_object_means_nothing(value, data):
    one, other = read(value), read(reordered(value, data.draw))

    assert cache.key_of(one, "x86_64") == cache.key_of(other, "x86_64")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "DEADLINE_S", 1.0)
        # All profiles that were drawn so far are there to be taken for another.
        patch.setattr(cache, "MAX_ENTRIES", 1 << 20)
        yield str(tmp_path_factory.mktemp("cache"))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@settings(
    max_examples=200, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(pairs())
def test_what_the_cache_hands_out_is_the_program_that_the_profile_asks_for(shared_cache, drawn):
    *both, calls = drawn
    binding = compiler.load_binding()
    for seccomp in (*both, both[0]):
        try:
            program = cache.program(seccomp, cache_dir=shared_cache, machine="x86_64")
        except (SpecError, HostError):
            continue
        assert compiler.program_of(seccomp) == program
        for name, abi, args in calls:
            if abi not in (*seccomp.architectures, "SCMP_ARCH_X86_64"):
                continue
            token, arch, _ = ABIS[abi]
            seen = Call(binding.resolve_syscall(token, name), arch, args)
            named = {
                binding.resolve_syscall(token, each)
                for one in seccomp.syscalls
                for each in one.names
            }

            assert simulate.run(program, seen) in simulate.reading(seccomp, seen, name, named)
