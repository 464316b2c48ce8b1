"""Profiles by the thousand: what the program says of a call is what a reader says.

Several rules for one call, of which one compares with NE, LT, LE, GE or GT, are drawn apart:
libseccomp 2.5.4 compiles some of them wrongly (and runc and crun with it), and is never done with
others. Then they must be refused. The profiles of engines have such rules: see test_compiler,
"different actions keep apart".
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisbx_runtime.oci.errors import HostError, SpecError
from aisbx_runtime.oci.seccomp import apart, compiler
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import profile, rule
from tests.oci.seccomp.simulate import X86_64, Call
from tests.oci.seccomp.strategies import ABIS, ACTIONS, MANY, conditions, profiles

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
)


@settings(
    max_examples=200, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(profiles())
def test_the_program_says_what_a_reader_says(drawn):
    seccomp, calls = drawn
    program = compiler.program_of(seccomp)
    binding = compiler.load_binding()
    for name, abi, args in calls:
        token, arch, _ = ABIS[abi]
        seen = Call(binding.resolve_syscall(token, name), arch, args)
        named = {
            binding.resolve_syscall(token, each) for rule in seccomp.syscalls for each in rule.names
        }

        assert simulate.run(program, seen) in simulate.reading(seccomp, seen, name, named)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(profiles(), st.integers(0, (1 << 32) - 1))
def test_a_foreign_architecture_is_killed_whatever_the_profile(drawn, number):
    seccomp, _ = drawn

    assert simulate.run(compiler.program_of(seccomp), Call(number, simulate.AARCH64)) == 0


@st.composite
def several_rules(draw):
    """Draw rules of any kind for one call: those that libseccomp 2.5.4 merges wrongly, or never."""
    rules = []
    for _ in range(draw(st.integers(2, 3))):
        action, errno_ret = draw(ACTIONS)
        args = draw(conditions(MANY, sorted(compiler.OPERATORS)))
        rules.append(rule("getppid", action=action, errno_ret=errno_ret, args=args))
    near = st.builds(lambda value, step: (value + step) % (1 << 64), MANY, st.integers(-1, 1))
    calls = draw(st.lists(st.tuples(near, near, near), min_size=20, max_size=40))
    return profile(*rules, default=draw(ACTIONS)[0]), calls


@settings(
    max_examples=60, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(several_rules())
def test_any_rules_of_one_call_mean_what_they_say_or_are_refused(drawn):
    seccomp, calls = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "DEADLINE_S", 1.0)
        try:
            program, _ = apart.compiled(seccomp)
        except (SpecError, HostError):
            return
    for args in calls:
        seen = Call(110, X86_64, args)

        assert simulate.run(program, seen) in simulate.reading(seccomp, seen, "getppid", {110})
