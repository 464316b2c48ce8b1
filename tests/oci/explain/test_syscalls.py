"""What `explain` says of system calls is what the compiled filter does."""

from __future__ import annotations

import os

import pytest

from aisbx_runtime.oci.errors import HostError
from aisbx_runtime.oci.explain.syscalls import PROBES
from aisbx_runtime.oci.seccomp import compiler
from aisbx_runtime.oci.seccomp.verdict import decide
from aisbx_runtime.oci.spec import parse
from tests.oci.seccomp import simulate
from tests.oci.seccomp.profiles import profile, rule

GOLDEN = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../golden"))
ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"


def seccomp_of(case):
    with open(f"{GOLDEN}/{case}/config.json", "rb") as file:
        text = parse.text_of(file.read(), "config.json")
    return parse.spec_of(text, "config.json").linux.seccomp


@pytest.mark.parametrize("case", ["docker", "podman4", "podman5", "podman4-userns"])
def test_the_words_agree_with_the_compiled_filter(case):
    try:
        binding = compiler.load_binding()
    except HostError:
        pytest.skip("no libseccomp binding: apt-get install python3-seccomp")
    seccomp = seccomp_of(case)
    program = compiler.program_of(seccomp)
    for probe in PROBES:
        args = [0] * 6
        for index, value in probe.args:
            args[index] = value
        number = binding.resolve_syscall(0, probe.syscall)
        if number < 0:
            continue
        action = simulate.run(program, simulate.Call(number, simulate.X86_64, tuple(args)))
        allowed = action in {simulate.ALLOW, simulate.LOG}
        expected = {"allowed" if allowed else "refused"}

        assert expected == {decide(seccomp, probe.syscall, dict(enumerate(args)))}, probe.name


def test_without_a_filter_everything_is_allowed():
    assert "allowed" == decide(None, "bpf", {})


@pytest.mark.parametrize(
    ("args", "expected"), [({}, "depends"), ({0: 5}, "allowed"), ({0: 6}, "refused")]
)
def test_a_condition_decides_when_its_argument_is_known(args, expected):
    seccomp = profile(rule("socket", action=ALLOW, args=[(0, 5, 0, "SCMP_CMP_EQ")]), default=ERRNO)

    assert expected == decide(seccomp, "socket", args)


def test_two_conditions_on_one_argument_are_alternatives():
    args = [(0, 5, 0, "SCMP_CMP_EQ"), (0, 6, 0, "SCMP_CMP_EQ")]
    seccomp = profile(rule("socket", action=ALLOW, args=args), default=ERRNO)

    assert ["allowed", "allowed", "refused"] == [
        decide(seccomp, "socket", {0: value}) for value in (5, 6, 7)
    ]


def test_what_is_left_to_a_listener_depends_on_it():
    seccomp = profile(rule("mount", action="SCMP_ACT_NOTIFY"), default=ERRNO)

    assert "depends" == decide(seccomp, "mount", {})


def test_a_masked_condition_compares_what_the_mask_leaves():
    flag = 0x10000000
    seccomp = profile(
        rule("clone", action=ALLOW, args=[(0, flag, 0, "SCMP_CMP_MASKED_EQ")]), default=ERRNO
    )

    assert ["refused", "allowed"] == [
        decide(seccomp, "clone", {0: value}) for value in (flag | 17, 17)
    ]
